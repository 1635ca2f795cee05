variable "name" {
  description = "Name of the node, and of what is made for it."
  type        = string
}

variable "architecture" {
  description = "Architecture of the VM: amd64 or arm64."
  type        = string
  default     = "amd64"
}

variable "ssh_from" {
  description = "Networks from which port 22 is reached, IPv4 or IPv6. An empty list closes it."
  type        = list(string)

  validation {
    condition     = alltrue([for cidr in var.ssh_from : can(cidrhost(cidr, 0))])
    error_message = "Networks such as 203.0.113.7/32 or 2001:db8::/48."
  }
}

variable "disk_gib" {
  description = "Size of the disk, for the images of your pods."
  type        = number
  default     = 12

  validation {
    condition     = var.disk_gib >= 10 && var.disk_gib <= 1024
    error_message = "10 to 1024; Debian's image needs 10 at most."
  }
}

variable "node" {
  description = "What makes a VM a node of your cluster; see ../user-data."
  type = object({
    zerotier_network = string
    k3s_server       = string
    k3s              = object({ version = string, sha256 = map(string) })
    mooring          = map(object({ url = string, sha256 = string }))
    http_node_port   = optional(number, 31693)
    https_node_port  = optional(number, 30484)
    ssh_public_key   = string
  })
}

variable "k3s_token" {
  description = "What the node joins with; see ../user-data. Empty: you bring it by ssh."
  type        = string
  sensitive   = true
  default     = ""
}

variable "instance_type" {
  description = "Null: t3.small or t4g.small, by architecture."
  type        = string
  default     = null
}
