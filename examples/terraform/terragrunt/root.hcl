# What all clouds have in common. Each folder beside this file is one node: `terragrunt run --all apply`.

locals {
  # The file that plain Terraform reads, too.
  shared = jsondecode(read_tfvars_file(find_in_parent_folders("terraform.tfvars")))
}

inputs = {
  ssh_from  = local.shared.ssh_from
  node      = local.shared.node
  k3s_token = get_env("TF_VAR_k3s_token", "")
}
