# One tenant's (or one pool's) queue, tables, parameters and roles.
#
# Promises: queues and tables are destroyed only after `delete_data`. The parameters come last, so the resources that they name
# exist. No policy is attached to another release's role, so a pool can serve any number of tenants.

data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  is_pool   = startswith(var.tenant_id, "pool-")
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region

  # Queue and tables exist if their app runs, or if they are retained.
  has_events   = var.enable_consumer || contains(var.retain, "consumer")
  has_payments = var.enable_payments || contains(var.retain, "payments")

  # Premium runs every app itself, advanced runs some, basic runs none.
  derived_tier = var.enable_producer && var.enable_consumer ? "premium" : (
    var.enable_producer || var.enable_consumer || var.enable_payments ? "advanced" : "basic"
  )
  tier = var.tier != "" ? var.tier : local.derived_tier

  # The environment that sends to the tenant's queue.
  producer_environment = var.enable_producer || local.is_pool ? var.tenant_id : var.pool_id

  permissions_boundary_arn = (
    var.permissions_boundary != "" ? "arn:${local.partition}:iam::${local.account}:policy/${var.permissions_boundary}" : null
  )
  kms_key_arn = var.kms_key_arn != "" ? var.kms_key_arn : null

  tags = merge(var.tags, {
    "tenantry/tenant"     = var.tenant_id
    "tenantry/managed-by" = "terraform/modules/tenant-apps"
  })
}

# The tenant's existing parameters. Turning an app off would destroy its data, so the postconditions refuse it before the first
# change. Otherwise the table's deletion protection would stop Terraform halfway.
data "aws_ssm_parameters_by_path" "own" {
  path = "/${var.tenant_id}/"

  lifecycle {
    postcondition {
      condition = local.has_events || var.delete_data || !anytrue([
        for arn in nonsensitive(self.values) : can(regex(":table/consumer-${var.tenant_id}-[a-z0-9]{3}$", arn))
      ])
      error_message = "enable_consumer = false would destroy the queue and the table of ${var.tenant_id}. Keep them with retain = [\"consumer\"], or apply delete_data = true first."
    }
    postcondition {
      condition = local.has_payments || var.delete_data || !anytrue([
        for arn in nonsensitive(self.values) : can(regex(":table/payments-${var.tenant_id}-[a-z0-9]{3}$", arn))
      ])
      error_message = "enable_payments = false would destroy the payments table of ${var.tenant_id}. Keep it with retain = [\"payments\"], or apply delete_data = true first."
    }
  }
}

# The pool's parameters, for apps that the tenant does not run itself. Read by path, because a pool without payments has fewer.
data "aws_ssm_parameters_by_path" "pool" {
  count = local.is_pool || (var.enable_consumer && var.enable_payments) ? 0 : 1
  path  = "/${var.pool_id}/"

  lifecycle {
    postcondition {
      # A suspended tenant needs no pool, because its requests are refused.
      condition = var.enable_consumer || var.suspended || length(setintersection(
        self.names, ["/${var.pool_id}/consumer_sqs", "/${var.pool_id}/consumer_ddb"]
      )) == 2
      error_message = "Parameters /${var.pool_id}/consumer_sqs and /${var.pool_id}/consumer_ddb do not exist yet: apply this module for ${var.pool_id} first."
    }
  }
}

locals {
  pool_parameters = length(data.aws_ssm_parameters_by_path.pool) == 0 ? {} : zipmap(
    data.aws_ssm_parameters_by_path.pool[0].names,
    nonsensitive(data.aws_ssm_parameters_by_path.pool[0].values),
  )
  pool_has_events   = contains(keys(local.pool_parameters), "/${var.pool_id}/consumer_sqs")
  pool_has_payments = contains(keys(local.pool_parameters), "/${var.pool_id}/payments_ddb")

  # Queue and tables of the environment's services: the tenant's own, or the pool's.
  consumer_sqs = var.enable_consumer ? aws_sqs_queue.consumer[0].arn : lookup(local.pool_parameters, "/${var.pool_id}/consumer_sqs", null)
  consumer_ddb = var.enable_consumer ? aws_dynamodb_table.consumer[0].arn : lookup(local.pool_parameters, "/${var.pool_id}/consumer_ddb", null)
  payments_ddb = var.enable_payments ? aws_dynamodb_table.payments[0].arn : lookup(local.pool_parameters, "/${var.pool_id}/payments_ddb", null)
}
