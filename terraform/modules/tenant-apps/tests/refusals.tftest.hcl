# Invalid variables are refused before the plan.

# Mocked AWS: account 123456789012 in eu-west-1, where pool-1 exists with payments. OpenTofu reads no mocks from a file, so each
# test file repeats them.
mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }
  mock_data "aws_ssm_parameters_by_path" {
    defaults = {
      names = ["/pool-1/consumer_sqs", "/pool-1/consumer_ddb", "/pool-1/payments_ddb"]
      values = [
        "arn:aws:sqs:eu-west-1:123456789012:consumer-pool-1-abc",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/consumer-pool-1-abc",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/payments-pool-1-def",
      ]
    }
  }
  mock_resource "aws_sqs_queue" {
    defaults = {
      arn = "arn:aws:sqs:eu-west-1:123456789012:own-queue"
      url = "https://sqs.eu-west-1.amazonaws.com/123456789012/own-queue"
    }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/own-table" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/a-role", id = "a-role" }
  }
}
mock_provider "random" {}

variables {
  cluster_name = "tenantry"
  tenant_id    = "tenant-1"
}

run "refuses_an_empty_id" {
  command = plan
  variables {
    tenant_id = ""
  }
  expect_failures = [var.tenant_id]
}

run "refuses_upper_case" {
  command = plan
  variables {
    tenant_id = "Tenant-1"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_a_path" {
  command = plan
  variables {
    tenant_id = "../pool-1"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_a_slash" {
  command = plan
  variables {
    tenant_id = "tenant/1"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_a_newline" {
  command = plan
  variables {
    tenant_id = "tenant-1\n"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_a_wildcard" {
  command = plan
  variables {
    tenant_id = "*"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_a_hyphen_at_the_end" {
  command = plan
  variables {
    tenant_id = "tenant-"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_a_hyphen_at_the_start" {
  command = plan
  variables {
    tenant_id = "-tenant"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_a_dot" {
  command = plan
  variables {
    tenant_id = "tenant.1"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_thirty_three_characters" {
  command = plan
  variables {
    tenant_id = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_kube_system" {
  command = plan
  variables {
    tenant_id = "kube-system"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_default" {
  command = plan
  variables {
    tenant_id = "default"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_flux_system" {
  command = plan
  variables {
    tenant_id = "flux-system"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_an_argo_namespace" {
  command = plan
  variables {
    tenant_id = "argo-events"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_an_aws_prefix" {
  command = plan
  variables {
    tenant_id = "aws-1"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_pool_without_a_name" {
  command = plan
  variables {
    tenant_id = "pool"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_an_interpolation" {
  command = plan
  variables {
    tenant_id = "$${var.tags}"
  }
  expect_failures = [var.tenant_id]
}

run "refuses_an_unknown_tier" {
  command = plan
  variables {
    tier = "gold"
  }
  expect_failures = [var.tier]
}

run "refuses_a_tier_in_capitals" {
  command = plan
  variables {
    tier = "Basic"
  }
  expect_failures = [var.tier]
}

run "refuses_a_pool_id_without_its_prefix" {
  command = plan
  variables {
    pool_id = "tenant-2"
  }
  expect_failures = [var.pool_id]
}

run "refuses_an_unknown_identity" {
  command = plan
  variables {
    identity = "keys"
  }
  expect_failures = [var.identity]
}

run "refuses_a_provider_without_an_arn" {
  command = plan
  variables {
    oidc_provider_arn = "https://oidc.example.com"
  }
  expect_failures = [var.oidc_provider_arn]
}

run "refuses_an_alias_as_key" {
  command = plan
  variables {
    kms_key_arn = "alias/aws/sqs"
  }
  expect_failures = [var.kms_key_arn]
}

run "refuses_an_unknown_app_in_retain" {
  command = plan
  variables {
    retain = ["producer"]
  }
  expect_failures = [var.retain]
}

run "refuses_a_namespace_of_an_unknown_app" {
  command = plan
  variables {
    namespaces = { orders = "x" }
  }
  expect_failures = [var.namespaces]
}

run "refuses_a_role_path_without_its_slashes" {
  command = plan
  variables {
    role_path = "tenantry"
  }
  expect_failures = [var.role_path]
}

run "refuses_a_boundary_by_arn" {
  command = plan
  variables {
    permissions_boundary = "arn:aws:iam::123456789012:policy/tenantry-tenants"
  }
  expect_failures = [var.permissions_boundary]
}

run "refuses_a_tag_that_permissions_depend_on" {
  command = plan
  variables {
    tags = { "tenantry/producer" = "pool-1" }
  }
  expect_failures = [var.tags]
}

run "refuses_a_retention_too_long_for_the_dead_letter_queue" {
  command = plan
  variables {
    message_retention_seconds = 1209600
  }
  expect_failures = [var.message_retention_seconds]
}

run "accepts_32_characters" {
  command = plan
  variables {
    tenant_id = "a2345678901234567890123456789012"
  }
}

run "refuses_pod_identity_without_a_cluster" {
  command = plan
  variables {
    enable_producer = true
    enable_consumer = true
    cluster_name    = ""
  }
  expect_failures = [aws_iam_role.app]
}

run "refuses_irsa_without_a_provider" {
  command = plan
  variables {
    enable_producer = true
    enable_consumer = true
    identity        = "irsa"
  }
  expect_failures = [aws_iam_role.app]
}
