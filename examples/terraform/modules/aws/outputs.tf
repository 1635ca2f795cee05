output "ipv4" {
  description = "Public IPv4 address."
  value       = aws_eip.this.public_ip
}

output "ipv6" {
  description = "Public IPv6 address."
  value       = one(aws_instance.this.ipv6_addresses)
}
