variable "name" {
  description = "Name of the node in the cluster. k3s adds a suffix of its own, so that a VM made anew is a new node."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.name))
    error_message = "A name of 1 to 40 lower-case letters, digits and dashes that starts with a letter."
  }
}

variable "architecture" {
  description = "Architecture of the VM: amd64 or arm64."
  type        = string

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "amd64 or arm64."
  }
}

variable "node" {
  description = "What makes a VM a node of your cluster, the same on every cloud. Hashes and packages by architecture."
  type = object({
    zerotier_network = string
    k3s_server       = string
    k3s              = object({ version = string, sha256 = map(string) })
    mooring          = map(object({ url = string, sha256 = string }))
    http_node_port   = optional(number, 31693)
    https_node_port  = optional(number, 30484)
    ssh_public_key   = string
  })

  validation {
    condition     = can(regex("^[0-9a-f]{16}$", var.node.zerotier_network))
    error_message = "zerotier_network is 16 hex digits, in lower case."
  }

  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+:[0-9]+$", var.node.k3s_server))
    error_message = "k3s_server looks like https://k3s.home.example:6443, with its port."
  }

  validation {
    condition = alltrue([
      for file in values(var.node.mooring) :
      can(regex("^https://[A-Za-z0-9.:/_%~+-]+$", file.url)) && can(regex("^[0-9a-f]{64}$", file.sha256))
    ])
    error_message = "mooring needs an https URL (of letters, digits and . : / _ % ~ + -) and a SHA-256 of 64 hex digits."
  }

  validation {
    condition = (
      can(regex("^v[0-9]+\\.[0-9]+\\.[0-9]+(-rc[0-9]+)?\\+k3s[0-9]+$", var.node.k3s.version)) &&
      alltrue([for hash in values(var.node.k3s.sha256) : can(regex("^[0-9a-f]{64}$", hash))])
    )
    error_message = "k3s needs a version such as v1.36.3+k3s1, and a SHA-256 of 64 hex digits."
  }

  validation {
    condition = alltrue([
      for port in [var.node.http_node_port, var.node.https_node_port] : port >= 30000 && port <= 32767
    ])
    error_message = "NodePorts are from 30000 to 32767, unless you changed the range of your cluster."
  }

  validation {
    condition     = can(regex("^(ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+ [A-Za-z0-9+/=]+( [A-Za-z0-9@._-]*)?$", var.node.ssh_public_key))
    error_message = "ssh_public_key is one line, as in id_ed25519.pub."
  }
}

variable "k3s_token" {
  description = "What `k3s token create --ttl 1h` prints on the server. Empty: you bring /etc/mooring/k3s-token by ssh."
  type        = string
  sensitive   = true
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9:._-]*$", var.k3s_token))
    error_message = "A token is letters, digits and : . _ -, in one line."
  }
}
