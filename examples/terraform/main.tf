# One node at each of three clouds, applied together. For a single cloud use its module by itself, or terragrunt/.

module "aws" {
  source = "./modules/aws"

  name         = "${var.prefix}-aws"
  architecture = var.aws.architecture
  ssh_from     = var.ssh_from
  node         = var.node
  k3s_token    = var.k3s_token
}

module "azure" {
  source = "./modules/azure"

  name         = "${var.prefix}-azure"
  architecture = var.azure.architecture
  location     = var.azure.location
  ssh_from     = var.ssh_from
  node         = var.node
  k3s_token    = var.k3s_token
}

module "google" {
  source = "./modules/google"

  name         = "${var.prefix}-google"
  architecture = var.google.architecture
  zone         = var.google.zone
  ssh_from     = var.ssh_from
  node         = var.node
  k3s_token    = var.k3s_token
}
