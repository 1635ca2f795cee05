output "text" {
  description = "The user data, a #cloud-config. It holds the k3s token."
  value       = local.text
  sensitive   = true
}
