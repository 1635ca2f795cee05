terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.55"
    }
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }
}

provider "aws" {
  region = var.aws.region
}

provider "azurerm" {
  subscription_id = var.azure.subscription_id
  features {}
}

provider "google" {
  project = var.google.project
}
