# Resources of each tier, and of a pool.

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
  cluster_name = "tenantry"
}

run "premium_has_its_own_resources" {
  variables {
    tenant_id       = "tenant-1"
    enable_producer = true
    enable_consumer = true
    enable_payments = true
  }

  assert {
    condition     = aws_sqs_queue.consumer[0].name == "consumer-tenant-1-x1y" && aws_sqs_queue.dead_letter[0].name == "consumer-tenant-1-x1y-dlq"
    error_message = "The queues' names differ from the contract."
  }
  assert {
    condition     = aws_dynamodb_table.consumer[0].name == "consumer-tenant-1-x1y" && aws_dynamodb_table.payments[0].name == "payments-tenant-1-x1y"
    error_message = "The tables' names differ from the contract."
  }
  assert {
    condition = { for name, parameter in merge(aws_ssm_parameter.first, aws_ssm_parameter.tenant) : parameter.name => parameter.value } == {
      "/tenant-1/consumer_sqs" = aws_sqs_queue.consumer[0].arn
      "/tenant-1/consumer_ddb" = aws_dynamodb_table.consumer[0].arn
      "/tenant-1/payments_ddb" = aws_dynamodb_table.payments[0].arn
      "/tenant-1/tier"         = "premium"
      "/tenant-1/status"       = "active"
    }
    error_message = "The parameters are not the tenant's own queue, tables, tier and status."
  }
  assert {
    condition     = { for app, role in aws_iam_role.app : app => role.name } == { producer = "producer-role-tenant-1", consumer = "consumer-role-tenant-1", payments = "payments-role-tenant-1" }
    error_message = "The roles' names differ from the chart's."
  }
  assert {
    condition     = alltrue([for app, a in aws_eks_pod_identity_association.app : a.namespace == "tenant-1" && a.service_account == "tenant-1-${app}" && a.cluster_name == "tenantry"])
    error_message = "A role is not associated with the chart's service account."
  }
  assert {
    condition     = length(data.aws_ssm_parameters_by_path.pool) == 0
    error_message = "A tenant with its own resources reads the pool's parameters."
  }
  assert {
    condition     = aws_sqs_queue.consumer[0].tags["tenantry/producer"] == "tenant-1"
    error_message = "A pool could send to a silo's queue."
  }
}

run "advanced_has_its_own_consumer_and_the_pools_payments" {
  variables {
    tenant_id       = "tenant-3"
    enable_consumer = true
  }

  assert {
    condition = { for name, parameter in merge(aws_ssm_parameter.first, aws_ssm_parameter.tenant) : name => parameter.value } == {
      consumer_sqs = aws_sqs_queue.consumer[0].arn
      consumer_ddb = aws_dynamodb_table.consumer[0].arn
      payments_ddb = "arn:aws:dynamodb:eu-west-1:123456789012:table/payments-pool-1-def"
      tier         = "advanced"
      status       = "active"
    }
    error_message = "The parameters are not the tenant's own queue and table, and the pool's payments."
  }
  assert {
    condition     = keys(aws_iam_role.app) == ["consumer"] && length(aws_dynamodb_table.payments) == 0
    error_message = "The tenant has more than its consumer."
  }
  assert {
    condition     = aws_sqs_queue.consumer[0].tags["tenantry/producer"] == "pool-1"
    error_message = "The pool's producer could not send to the tenant's queue."
  }
}

run "basic_has_the_pools_arns" {
  variables {
    tenant_id = "tenant-2"
  }

  assert {
    condition = { for name, parameter in merge(aws_ssm_parameter.first, aws_ssm_parameter.tenant) : parameter.name => parameter.value } == {
      "/tenant-2/consumer_sqs" = "arn:aws:sqs:eu-west-1:123456789012:consumer-pool-1-abc"
      "/tenant-2/consumer_ddb" = "arn:aws:dynamodb:eu-west-1:123456789012:table/consumer-pool-1-abc"
      "/tenant-2/payments_ddb" = "arn:aws:dynamodb:eu-west-1:123456789012:table/payments-pool-1-def"
      "/tenant-2/tier"         = "basic"
      "/tenant-2/status"       = "active"
    }
    error_message = "The parameters are not the pool's."
  }
  assert {
    condition     = length(aws_sqs_queue.consumer) + length(aws_dynamodb_table.consumer) + length(aws_dynamodb_table.payments) + length(aws_iam_role.app) == 0
    error_message = "A basic tenant has more than its parameters."
  }
}

run "a_pool_has_queue_tables_and_roles_but_no_tier" {
  variables {
    tenant_id       = "pool-1"
    enable_producer = true
    enable_consumer = true
    enable_payments = true
  }

  assert {
    condition     = toset(keys(merge(aws_ssm_parameter.first, aws_ssm_parameter.tenant))) == toset(["consumer_sqs", "consumer_ddb", "payments_ddb"])
    error_message = "The pool's parameters are not those of its resources."
  }
  assert {
    condition     = aws_iam_role.app["producer"].name == "producer-role-pool-1" && output.tier == null
    error_message = "The roles are not the pool's."
  }
  assert {
    condition     = length(aws_iam_role.reader) == 0
    error_message = "A reader's role exists without a reader."
  }
}

run "strings_are_booleans_too" {
  variables {
    tenant_id       = "tenant-3"
    enable_producer = "false"
    enable_consumer = "true"
    enable_payments = "false"
    suspended       = "true"
  }

  assert {
    condition     = length(aws_sqs_queue.consumer) == 1 && aws_ssm_parameter.first["status"].value == "suspended"
    error_message = "Booleans as strings, as tofu-controller sends them, are not accepted."
  }
}

run "a_given_tier_overrides_the_derived_tier" {
  variables {
    tenant_id       = "tenant-3"
    tier            = "advanced"
    enable_consumer = true
    enable_producer = true
  }

  assert {
    condition     = aws_ssm_parameter.tenant["tier"].value == "advanced"
    error_message = "The registered tier is not the given tier."
  }
}

run "queues_and_tables_follow_the_contract" {
  variables {
    tenant_id       = "tenant-1"
    enable_consumer = true
    enable_payments = true
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.consumer[0].redrive_policy).maxReceiveCount == 5 && aws_sqs_queue.dead_letter[0].message_retention_seconds == 1209600
    error_message = "Not five deliveries, or not 14 days in the dead-letter queue."
  }
  assert {
    condition     = jsondecode(aws_sqs_queue_redrive_allow_policy.dead_letter[0].redrive_allow_policy).redrivePermission == "byQueue"
    error_message = "Any queue could use the dead-letter queue."
  }
  assert {
    condition     = aws_sqs_queue.consumer[0].sqs_managed_sse_enabled && aws_sqs_queue.dead_letter[0].sqs_managed_sse_enabled
    error_message = "A queue is not encrypted."
  }
  assert {
    condition     = toset(keys(aws_sqs_queue_policy.tls_only)) == toset(["consumer", "dead_letter"])
    error_message = "A queue accepts requests without TLS."
  }
  assert {
    condition     = one([for index in aws_dynamodb_table.consumer[0].global_secondary_index : "${index.name} ${index.hash_key} ${index.range_key} ${index.projection_type}"]) == "listed tenant_id listed_at ALL"
    error_message = "The consumer cannot list by this index."
  }
  assert {
    condition     = one([for index in aws_dynamodb_table.payments[0].global_secondary_index : "${index.name} ${index.hash_key} ${index.range_key} ${index.projection_type}"]) == "outbox outbox_shard outbox_at ALL"
    error_message = "Payments cannot sweep the outbox by this index."
  }
  assert {
    condition     = length(aws_dynamodb_table.consumer[0].ttl) == 0 && one(aws_dynamodb_table.payments[0].ttl).attribute_name == "expires_at"
    error_message = "Events expire, or payments' keys do not."
  }
  assert {
    condition = alltrue([for table in [aws_dynamodb_table.consumer[0], aws_dynamodb_table.payments[0]] :
      table.billing_mode == "PAY_PER_REQUEST" && one(table.point_in_time_recovery).enabled && table.deletion_protection_enabled
    ])
    error_message = "A table is not on demand, recoverable and protected."
  }
}

run "a_given_key_encrypts_queues_and_tables" {
  variables {
    tenant_id       = "tenant-1"
    enable_producer = true
    enable_consumer = true
    ttl_attribute   = "expires_at"
    kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/1234"
  }

  assert {
    condition     = aws_sqs_queue.consumer[0].kms_master_key_id == var.kms_key_arn && aws_sqs_queue.dead_letter[0].kms_master_key_id == var.kms_key_arn
    error_message = "A queue is not encrypted with the key."
  }
  assert {
    condition     = one(aws_dynamodb_table.consumer[0].server_side_encryption).kms_key_arn == var.kms_key_arn
    error_message = "The table is not encrypted with the key."
  }
  assert {
    condition     = strcontains(aws_iam_role_policy.app["producer"].policy, "kms:GenerateDataKey")
    error_message = "The producer may not use the key."
  }
  assert {
    condition     = one(aws_dynamodb_table.consumer[0].ttl).attribute_name == "expires_at"
    error_message = "The time-to-live attribute is not the given one."
  }
}

run "a_tenant_has_an_entry_in_the_index_and_one_while_it_is_refused" {
  variables {
    tenant_id  = "tenant-2"
    suspended  = true
    generation = "1770000000000"
  }

  assert {
    condition = { for name, parameter in aws_ssm_parameter.index : parameter.name => parameter.value } == {
      "/tenantry/tenants/tenant-2" = "basic"
      "/tenantry/refused/tenant-2" = "suspended"
    }
    error_message = "The services of the pool would not find the tenant, or not its suspension."
  }
  assert {
    condition     = aws_ssm_parameter.generation[0].name == "/tenant-2/generation" && aws_ssm_parameter.generation[0].value == "1770000000000"
    error_message = "The services would take the tenant for the first owner of its id."
  }
}

run "an_active_tenant_of_the_first_generation_has_one_entry" {
  variables {
    tenant_id = "tenant-2"
  }

  assert {
    condition     = keys(aws_ssm_parameter.index) == ["tenants"] && length(aws_ssm_parameter.generation) == 0
    error_message = "An active tenant is listed as refused, or has a generation."
  }
}

run "a_pool_has_no_entry" {
  variables {
    tenant_id       = "pool-1"
    enable_producer = true
    enable_consumer = true
    enable_payments = true
  }

  assert {
    condition     = length(aws_ssm_parameter.index) == 0
    error_message = "A pool is listed as a tenant."
  }
}
