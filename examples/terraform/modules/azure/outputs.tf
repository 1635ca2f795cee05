output "ipv4" {
  description = "Public IPv4 address."
  value       = azurerm_public_ip.this.ip_address
}
