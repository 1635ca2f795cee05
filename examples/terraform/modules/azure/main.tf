# A VM at Azure with a public IPv4 address, in a network of its own. No IPv6: it would take a second public address.

terraform {
  required_version = ">= 1.5"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.55"
    }
  }
}

module "user_data" {
  source = "../user-data"

  name         = var.name
  architecture = var.architecture
  node         = var.node
  k3s_token    = var.k3s_token
}

locals {
  # What the world may reach: the ingress, and ZeroTier, which finds shorter paths that way. Port 22 is asked for below.
  doors = {
    http     = { protocol = "tcp", port = 80 }
    https    = { protocol = "tcp", port = 443 }
    quic     = { protocol = "udp", port = 443 }
    zerotier = { protocol = "udp", port = 9993 }
  }
  admin   = "debian"
  network = "10.97.1.0/24"
}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
}

resource "azurerm_virtual_network" "this" {
  name                = var.name
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  address_space       = [local.network]
}

resource "azurerm_subnet" "this" {
  name                 = var.name
  resource_group_name  = azurerm_resource_group.this.name
  virtual_network_name = azurerm_virtual_network.this.name
  address_prefixes     = [local.network]
}

resource "azurerm_public_ip" "this" {
  name                = var.name
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  allocation_method   = "Static"
  sku                 = "Standard"
}

# What no rule allows is refused from outside by Azure's own rules.
resource "azurerm_network_security_group" "this" {
  name                = var.name
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
}

resource "azurerm_network_security_rule" "door" {
  for_each = local.doors

  name                        = each.key
  resource_group_name         = azurerm_resource_group.this.name
  network_security_group_name = azurerm_network_security_group.this.name
  priority                    = 100 + index(keys(local.doors), each.key)
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = title(each.value.protocol)
  source_address_prefix       = "*"
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_range      = tostring(each.value.port)
}

resource "azurerm_network_security_rule" "ssh" {
  count = length(var.ssh_from) > 0 ? 1 : 0

  name                        = "ssh"
  resource_group_name         = azurerm_resource_group.this.name
  network_security_group_name = azurerm_network_security_group.this.name
  priority                    = 200
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_address_prefixes     = var.ssh_from
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_range      = "22"
}

resource "azurerm_network_interface" "this" {
  name                = var.name
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location

  ip_configuration {
    name                          = "public"
    subnet_id                     = azurerm_subnet.this.id
    private_ip_address_allocation = "Dynamic"
    public_ip_address_id          = azurerm_public_ip.this.id
  }
}

resource "azurerm_network_interface_security_group_association" "this" {
  network_interface_id      = azurerm_network_interface.this.id
  network_security_group_id = azurerm_network_security_group.this.id
}

resource "azurerm_linux_virtual_machine" "this" {
  name                  = var.name
  resource_group_name   = azurerm_resource_group.this.name
  location              = azurerm_resource_group.this.location
  size                  = coalesce(var.size, var.architecture == "arm64" ? "Standard_B2pls_v2" : "Standard_B2als_v2")
  network_interface_ids = [azurerm_network_interface.this.id]
  admin_username        = local.admin
  # Not user_data, which the metadata service tells to whoever asks.
  custom_data = base64encode(module.user_data.text)

  admin_ssh_key {
    username   = local.admin
    public_key = var.node.ssh_public_key
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
    disk_size_gb         = var.disk_gib
  }

  source_image_reference {
    publisher = "Debian"
    offer     = "debian-13"
    sku       = var.architecture == "arm64" ? "13-arm64" : "13-gen2"
    version   = "latest"
  }

  # Behind its rules from its first moment.
  depends_on = [azurerm_network_interface_security_group_association.this]
}
