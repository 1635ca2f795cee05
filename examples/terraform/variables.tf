variable "prefix" {
  description = "Begins the names of the nodes, and of all that is made for them."
  type        = string
  default     = "edge"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,23}$", var.prefix))
    error_message = "1 to 24 lower-case letters, digits and dashes; it starts with a letter."
  }
}

variable "aws" {
  description = "Where at AWS, and on what."
  type = object({
    region       = string
    architecture = optional(string, "arm64")
  })
}

variable "azure" {
  description = "Where at Azure, and on what."
  type = object({
    subscription_id = string
    location        = string
    architecture    = optional(string, "amd64")
  })
}

variable "google" {
  description = "Where at Google Cloud, and on what."
  type = object({
    project      = string
    zone         = string
    architecture = optional(string, "amd64")
  })
}

variable "ssh_from" {
  description = "Networks from which port 22 is reached, IPv4 or IPv6. An empty list closes it."
  type        = list(string)
}

variable "hostnames" {
  description = "Names that shall lead to the nodes, for the output dns_records."
  type        = list(string)
  default     = []
}

variable "node" {
  description = "What makes a VM a node of your cluster; see modules/user-data."
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
  description = "What the nodes join with; see modules/user-data. Give it as TF_VAR_k3s_token. Empty: you bring it by ssh."
  type        = string
  sensitive   = true
  default     = ""
}
