# Renders the user data of one node: the cloud-init example of ../../../cloud-init with your values.

terraform {
  required_version = ">= 1.5"
}

locals {
  text = templatefile("${path.module}/user-data.yaml.tftpl", {
    name             = var.name
    architecture     = var.architecture
    zerotier_network = var.node.zerotier_network
    k3s_server       = var.node.k3s_server
    k3s_token        = var.k3s_token
    k3s_version      = var.node.k3s.version
    k3s_sha256       = var.node.k3s.sha256[var.architecture]
    mooring_url      = var.node.mooring[var.architecture].url
    mooring_sha256   = var.node.mooring[var.architecture].sha256
    http_node_port   = var.node.http_node_port
    https_node_port  = var.node.https_node_port
    ssh_public_key   = var.node.ssh_public_key
  })
}
