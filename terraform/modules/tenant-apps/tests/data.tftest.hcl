# Turning an app off never destroys a tenant's data by accident.

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
mock_provider "random" {
  mock_resource "random_string" {
    defaults = { result = "x1y" }
  }
}

variables {
  tenant_id    = "tenant-3"
  cluster_name = "tenantry"
}

run "delete_data_lifts_the_protection_and_nothing_else" {
  variables {
    enable_consumer = true
    enable_payments = true
    delete_data     = true
  }

  assert {
    condition     = !aws_dynamodb_table.consumer[0].deletion_protection_enabled && !aws_dynamodb_table.payments[0].deletion_protection_enabled
    error_message = "The tables are still protected."
  }
  assert {
    condition     = length(aws_sqs_queue.consumer) == 1 && length(merge(aws_ssm_parameter.first, aws_ssm_parameter.tenant)) == 5
    error_message = "A queue or a parameter is already gone."
  }
}

run "turning_the_consumer_off_is_refused_while_it_has_data" {
  command = plan
  override_data {
    target = data.aws_ssm_parameters_by_path.own
    values = {
      names  = ["/tenant-3/consumer_ddb"]
      values = ["arn:aws:dynamodb:eu-west-1:123456789012:table/consumer-tenant-3-x1y"]
    }
  }
  variables {
    enable_consumer = false
  }
  expect_failures = [data.aws_ssm_parameters_by_path.own]
}

run "turning_payments_off_is_refused_while_they_have_data" {
  command = plan
  override_data {
    target = data.aws_ssm_parameters_by_path.own
    values = {
      names  = ["/tenant-3/payments_ddb"]
      values = ["arn:aws:dynamodb:eu-west-1:123456789012:table/payments-tenant-3-x1y"]
    }
  }
  variables {
    enable_consumer = true
  }
  expect_failures = [data.aws_ssm_parameters_by_path.own]
}

run "a_retained_tenant_keeps_its_data_and_uses_the_pool" {
  override_data {
    target = data.aws_ssm_parameters_by_path.own
    values = {
      names  = ["/tenant-3/consumer_ddb"]
      values = ["arn:aws:dynamodb:eu-west-1:123456789012:table/consumer-tenant-3-x1y"]
    }
  }
  variables {
    retain = ["consumer", "payments"]
    tier   = "basic"
  }

  assert {
    condition     = length(aws_sqs_queue.consumer) == 1 && aws_dynamodb_table.consumer[0].deletion_protection_enabled && length(aws_dynamodb_table.payments) == 1
    error_message = "The tenant's data is not kept."
  }
  assert {
    condition     = aws_ssm_parameter.tenant["consumer_sqs"].value == "arn:aws:sqs:eu-west-1:123456789012:consumer-pool-1-abc"
    error_message = "The tenant's events would go to a queue without a consumer."
  }
  assert {
    condition     = length(aws_iam_role.app) == 0
    error_message = "An app that does not run has a role."
  }
}

run "after_the_protection_is_lifted_the_data_can_be_deleted" {
  command = plan
  override_data {
    target = data.aws_ssm_parameters_by_path.own
    values = {
      names  = ["/tenant-3/consumer_ddb"]
      values = ["arn:aws:dynamodb:eu-west-1:123456789012:table/consumer-tenant-3-x1y"]
    }
  }
  override_data {
    target = data.aws_ssm_parameters_by_path.pool
    values = {
      names  = ["/pool-1/consumer_sqs", "/pool-1/consumer_ddb"]
      values = ["arn:aws:sqs:eu-west-1:123456789012:q", "arn:aws:dynamodb:eu-west-1:123456789012:table/t"]
    }
  }
  variables {
    delete_data = true
  }

  assert {
    condition     = length(aws_dynamodb_table.consumer) == 0 && toset(keys(merge(aws_ssm_parameter.first, aws_ssm_parameter.tenant))) == toset(["consumer_sqs", "consumer_ddb", "tier", "status"])
    error_message = "The data stays, or a parameter names payments that the pool does not have."
  }
}

run "a_tenant_before_its_pool_is_refused" {
  command = plan
  override_data {
    target = data.aws_ssm_parameters_by_path.pool
    values = { names = [], values = [] }
  }
  expect_failures = [data.aws_ssm_parameters_by_path.pool[0]]
}

run "an_offboarded_tenant_needs_no_pool" {
  override_data {
    target = data.aws_ssm_parameters_by_path.pool
    values = { names = [], values = [] }
  }
  variables {
    retain    = ["consumer"]
    suspended = true
  }

  assert {
    condition     = toset(keys(merge(aws_ssm_parameter.first, aws_ssm_parameter.tenant))) == toset(["tier", "status", "retained_consumer_sqs", "retained_consumer_ddb"]) && aws_ssm_parameter.first["status"].value == "suspended"
    error_message = "An offboarded tenant would be served."
  }
}

run "a_tenant_that_leaves_its_silo_is_followed_by_its_data" {
  override_data {
    target = data.aws_ssm_parameters_by_path.own
    values = {
      names = ["/tenant-3/consumer_sqs", "/tenant-3/consumer_ddb", "/tenant-3/payments_ddb", "/tenant-3/status"]
      values = [
        "arn:aws:sqs:eu-west-1:123456789012:consumer-tenant-3-x1y",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/consumer-tenant-3-x1y",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/payments-tenant-3-x1y",
        "active",
      ]
    }
  }
  variables {
    retain = ["consumer", "payments"]
    tier   = "basic"
  }

  assert {
    condition     = aws_ssm_parameter.first["status"].value == "moving" && aws_ssm_parameter.first["unsettled_payments"].value == "tenant-3"
    error_message = "Payments would be written in the pool's table before they are copied."
  }
  assert {
    condition     = aws_ssm_parameter.first["moved_from"].value == "tenant-3"
    error_message = "The registry does not say where the tenant comes from."
  }
  assert {
    condition = toset(keys(aws_ssm_parameter.first)) == toset([
      "status", "moved_from", "unsettled_consumer", "unsettled_payments",
      "retained_consumer_sqs", "retained_consumer_ddb", "retained_payments_ddb",
    ])
    error_message = "tenantctl settle does not find the former queue and tables."
  }
  assert {
    condition     = aws_ssm_parameter.index["refused"].value == "moved"
    error_message = "A pool with many tenants would use the former registration."
  }
}

run "payments_are_active_once_they_are_settled_and_late_messages_are_forwarded_on" {
  override_data {
    target = data.aws_ssm_parameters_by_path.own
    values = {
      names = ["/tenant-3/consumer_sqs", "/tenant-3/payments_ddb", "/tenant-3/status", "/tenant-3/moved_from"]
      values = [
        "arn:aws:sqs:eu-west-1:123456789012:consumer-tenant-3-x1y",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/payments-tenant-3-x1y",
        "active",
        "pool-1",
      ]
    }
  }
  variables {
    enable_producer = true
    enable_consumer = true
    enable_payments = true
  }

  assert {
    condition     = aws_ssm_parameter.first["status"].value == "active" && aws_ssm_parameter.first["moved_from"].value == "pool-1"
    error_message = "The status or the former environment is wrong."
  }
}

run "a_tenant_whose_payments_are_not_settled_stays_moving_also_after_a_suspension" {
  override_data {
    target = data.aws_ssm_parameters_by_path.own
    values = {
      names = ["/tenant-3/payments_ddb", "/tenant-3/status", "/tenant-3/unsettled_payments"]
      values = [
        "arn:aws:dynamodb:eu-west-1:123456789012:table/payments-pool-1-def",
        "suspended",
        "tenant-3",
      ]
    }
  }
  variables {
    enable_consumer = true
    retain          = ["payments"]
    tier            = "advanced"
  }

  assert {
    condition     = aws_ssm_parameter.first["status"].value == "moving"
    error_message = "The pool would accept payments whose keys are not copied yet."
  }
}
