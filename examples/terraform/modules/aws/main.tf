# A VM at AWS with a public IPv4 and IPv6 address, in a network of its own.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
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
  # What the world may reach: the ingress, and ZeroTier, which finds shorter paths that way. Port 22 is asked for below.
  doors = {
    http     = { protocol = "tcp", port = 80 }
    https    = { protocol = "tcp", port = 443 }
    quic     = { protocol = "udp", port = 443 }
    zerotier = { protocol = "udp", port = 9993 }
  }
  everywhere = { ipv4 = "0.0.0.0/0", ipv6 = "::/0" }
  ingress = merge(
    {
      for pair in setproduct(keys(local.doors), values(local.everywhere)) :
      "${pair[0]} ${pair[1]}" => merge(local.doors[pair[0]], { cidr = pair[1] })
    },
    { for cidr in var.ssh_from : "ssh ${cidr}" => { protocol = "tcp", port = 22, cidr = cidr } },
  )
  tags = { Name = var.name }
}

# Debian's own account.
data "aws_ami" "debian" {
  most_recent = true
  owners      = ["136693071363"]

  filter {
    name   = "name"
    values = ["debian-13-${var.architecture}-*"]
  }
}

resource "aws_vpc" "this" {
  cidr_block                       = "10.97.0.0/24"
  assign_generated_ipv6_cidr_block = true
  enable_dns_hostnames             = true
  tags                             = local.tags
}

resource "aws_subnet" "this" {
  vpc_id                          = aws_vpc.this.id
  cidr_block                      = aws_vpc.this.cidr_block
  ipv6_cidr_block                 = cidrsubnet(aws_vpc.this.ipv6_cidr_block, 8, 0)
  assign_ipv6_address_on_creation = true
  tags                            = local.tags
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = local.tags
}

resource "aws_route_table" "this" {
  vpc_id = aws_vpc.this.id
  tags   = local.tags
}

resource "aws_route" "ipv4" {
  route_table_id         = aws_route_table.this.id
  destination_cidr_block = local.everywhere.ipv4
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route" "ipv6" {
  route_table_id              = aws_route_table.this.id
  destination_ipv6_cidr_block = local.everywhere.ipv6
  gateway_id                  = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "this" {
  subnet_id      = aws_subnet.this.id
  route_table_id = aws_route_table.this.id
}

resource "aws_security_group" "this" {
  name        = var.name
  description = "The ingress, ZeroTier and ssh of ${var.name}"
  vpc_id      = aws_vpc.this.id
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = local.ingress

  security_group_id = aws_security_group.this.id
  description       = each.key
  ip_protocol       = each.value.protocol
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = strcontains(each.value.cidr, ":") ? null : each.value.cidr
  cidr_ipv6         = strcontains(each.value.cidr, ":") ? each.value.cidr : null
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.everywhere

  security_group_id = aws_security_group.this.id
  ip_protocol       = "-1"
  cidr_ipv4         = each.key == "ipv4" ? each.value : null
  cidr_ipv6         = each.key == "ipv6" ? each.value : null
}

resource "aws_instance" "this" {
  ami                         = data.aws_ami.debian.id
  instance_type               = coalesce(var.instance_type, var.architecture == "arm64" ? "t4g.small" : "t3.small")
  subnet_id                   = aws_subnet.this.id
  vpc_security_group_ids      = [aws_security_group.this.id]
  ipv6_address_count          = 1
  user_data                   = module.user_data.text
  user_data_replace_on_change = true
  tags                        = local.tags

  # A token for each question, and answers that do not travel beyond the VM: pods cannot read the user data.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.disk_gib
    encrypted   = true
  }

  # A newer image is no reason to make the VM anew.
  lifecycle {
    ignore_changes = [ami]
  }

  depends_on = [aws_route.ipv4, aws_route.ipv6, aws_route_table_association.this]
}

# Stays the same over a stop and a start, as the DNS records need it.
resource "aws_eip" "this" {
  domain     = "vpc"
  instance   = aws_instance.this.id
  tags       = local.tags
  depends_on = [aws_internet_gateway.this]
}
