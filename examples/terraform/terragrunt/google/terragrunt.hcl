include "root" {
  path   = find_in_parent_folders("root.hcl")
  expose = true
}

# The double slash takes the modules beside it along.
terraform {
  source = "../..//modules/google"
}

generate "provider" {
  path      = "provider.tf"
  if_exists = "overwrite"
  contents  = <<-EOT
    provider "google" {
      project = "${include.root.locals.shared.google.project}"
    }
  EOT
}

inputs = {
  name = "edge-google"
  zone = include.root.locals.shared.google.zone
}
