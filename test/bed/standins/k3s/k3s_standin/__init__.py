"""A stand-in for k3s: what a k3s agent does to its node and says to its server, without Kubernetes."""
