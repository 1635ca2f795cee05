include "root" {
  path   = find_in_parent_folders("root.hcl")
  expose = true
}

# The double slash takes the modules beside it along.
terraform {
  source = "../..//modules/aws"
}

generate "provider" {
  path      = "provider.tf"
  if_exists = "overwrite"
  contents  = <<-EOT
    provider "aws" {
      region = "${include.root.locals.shared.aws.region}"
    }
  EOT
}

inputs = {
  name         = "edge-aws"
  architecture = "arm64"
}
