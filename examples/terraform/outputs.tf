locals {
  addresses = {
    A    = [module.aws.ipv4, module.azure.ipv4, module.google.ipv4]
    AAAA = compact([module.aws.ipv6, module.google.ipv6])
  }
}

output "nodes" {
  description = "The public addresses of each node."
  value = {
    aws    = { ipv4 = module.aws.ipv4, ipv6 = module.aws.ipv6 }
    azure  = { ipv4 = module.azure.ipv4, ipv6 = null }
    google = { ipv4 = module.google.ipv4, ipv6 = module.google.ipv6 }
  }
}

output "dns_records" {
  description = "The records to make at your DNS provider. A short time to live lets you take a node out."
  value = flatten([
    for hostname in var.hostnames : [
      for type, addresses in local.addresses : { name = hostname, type = type, ttl = 300, values = addresses }
    ]
  ])
}
