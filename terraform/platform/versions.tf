terraform {
  # 1.7 is the first with mock providers, which the tests use. OpenTofu counts alike.
  required_version = ">= 1.7"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 6.8: queues may take messages of 1 MiB. A new major version is read before it is taken.
      version = ">= 6.8, < 7.0"
    }
  }
}
