terraform {
  # 1.7 is the first version with mock providers, which the tests use, in Terraform and in OpenTofu.
  required_version = ">= 1.7"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 6.8 allows queues with messages of 1 MiB. Review a new major version before allowing it.
      version = ">= 6.8, < 7.0"
    }
    random = {
      source  = "hashicorp/random"
      version = ">= 3.6, < 4.0"
    }
  }
}
