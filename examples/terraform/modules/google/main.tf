# A VM at Google Cloud with a public IPv4 and IPv6 address, in a network of its own.

terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }
}

module "user_data" {
  source = "../user-data"

  name         = var.name
  architecture = var.architecture
  node         = var.node
  k3s_token    = var.k3s_token
}

locals {
  region = join("-", slice(split("-", var.zone), 0, 2))
  # What the world may reach: the ingress, and ZeroTier, which finds shorter paths that way. Port 22 is asked for below.
  doors = {
    http     = { protocol = "tcp", port = 80 }
    https    = { protocol = "tcp", port = 443 }
    quic     = { protocol = "udp", port = 443 }
    zerotier = { protocol = "udp", port = 9993 }
  }
  # A rule takes networks of one family.
  ssh_from = {
    for family in ["ipv4", "ipv6"] : family => [
      for cidr in var.ssh_from : cidr if strcontains(cidr, ":") == (family == "ipv6")
    ]
  }
}

resource "google_compute_network" "this" {
  name                    = var.name
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "this" {
  name             = var.name
  network          = google_compute_network.this.id
  region           = local.region
  ip_cidr_range    = "10.97.2.0/24"
  stack_type       = "IPV4_IPV6"
  ipv6_access_type = "EXTERNAL"
}

resource "google_compute_address" "this" {
  name   = var.name
  region = local.region
}

resource "google_compute_firewall" "doors" {
  for_each = { ipv4 = "0.0.0.0/0", ipv6 = "::/0" }

  name          = "${var.name}-doors-${each.key}"
  network       = google_compute_network.this.id
  source_ranges = [each.value]

  dynamic "allow" {
    for_each = local.doors
    content {
      protocol = allow.value.protocol
      ports    = [tostring(allow.value.port)]
    }
  }
}

resource "google_compute_firewall" "ssh" {
  for_each = { for family, cidrs in local.ssh_from : family => cidrs if length(cidrs) > 0 }

  name          = "${var.name}-ssh-${each.key}"
  network       = google_compute_network.this.id
  source_ranges = each.value

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}

# No service account: the metadata service has no keys of your project to give away.
resource "google_compute_instance" "this" {
  name         = var.name
  machine_type = coalesce(var.machine_type, var.architecture == "arm64" ? "t2a-standard-1" : "e2-small")
  zone         = var.zone

  metadata = {
    user-data = module.user_data.text
    # Google's images of Debian come without cloud-init. It reads the user data at the next boot.
    startup-script = <<-EOT
      #!/bin/sh
      command -v cloud-init >/dev/null && exit 0
      apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y cloud-init && reboot
    EOT
    ssh-keys               = "debian:${var.node.ssh_public_key}"
    block-project-ssh-keys = "true"
  }

  boot_disk {
    initialize_params {
      image = var.architecture == "arm64" ? "debian-cloud/debian-13-arm64" : "debian-cloud/debian-13"
      size  = var.disk_gib
    }
  }

  network_interface {
    subnetwork = google_compute_subnetwork.this.id
    stack_type = "IPV4_IPV6"

    access_config {
      nat_ip = google_compute_address.this.address
    }

    ipv6_access_config {
      network_tier = "PREMIUM"
    }
  }

  # A newer image is no reason to make the VM anew.
  lifecycle {
    ignore_changes = [boot_disk[0].initialize_params[0].image]
  }

  depends_on = [google_compute_firewall.doors]
}
