"""The kubeconfigs that a k3s agent leaves in its data directory: CA, client certificate and key as files of their own, by path."""
import os

from . import balancer

TEMPLATE = """apiVersion: v1
clusters:
- cluster:
    server: https://127.0.0.1:{port}
    certificate-authority: {folder}/server-ca.crt
  name: local
contexts:
- context:
    cluster: local
    namespace: default
    user: user
  name: Default
current-context: Default
kind: Config
preferences: {{}}
users:
- name: user
  user:
    client-certificate: {folder}/{client}.crt
    client-key: {folder}/{client}.key
"""


def write(folder, name, client, pem):
    """`name`.kubeconfig for the certificate and key in `pem`."""
    certificate, _, key = pem.partition("-----BEGIN PRIVATE KEY-----")
    for path, text in (
        (f"{folder}/{client}.crt", certificate),
        (f"{folder}/{client}.key", "-----BEGIN PRIVATE KEY-----" + key),
        (f"{folder}/{name}.kubeconfig", TEMPLATE.format(port=balancer.PORT, folder=folder, client=client)),
    ):
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
