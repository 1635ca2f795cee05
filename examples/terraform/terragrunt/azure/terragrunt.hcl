include "root" {
  path   = find_in_parent_folders("root.hcl")
  expose = true
}

# The double slash takes the modules beside it along.
terraform {
  source = "../..//modules/azure"
}

generate "provider" {
  path      = "provider.tf"
  if_exists = "overwrite"
  contents  = <<-EOT
    provider "azurerm" {
      subscription_id = "${include.root.locals.shared.azure.subscription_id}"
      features {}
    }
  EOT
}

inputs = {
  name     = "edge-azure"
  location = include.root.locals.shared.azure.location
}
