output "ipv4" {
  description = "Public IPv4 address."
  value       = google_compute_address.this.address
}

output "ipv6" {
  description = "Public IPv6 address. It is another one once the VM is made anew."
  value       = google_compute_instance.this.network_interface[0].ipv6_access_config[0].external_ipv6
}
