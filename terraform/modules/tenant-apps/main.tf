# One tenant's (or one pool's) queue, tables, parameters and roles.
#
# Promises: what holds data goes only after `delete_data`; the parameters come last, so whoever finds them finds what they
# name; nothing here is attached to a role of somebody else's, so a pool takes any number of tenants.

data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  is_pool   = startswith(var.tenant_id, "pool-")
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region

  # What holds data is there where its app runs, and where it is retained.
  has_events   = var.enable_consumer || contains(var.retain, "consumer")
  has_payments = var.enable_payments || contains(var.retain, "payments")

  # As the contract has it: premium runs everything itself, advanced something, basic nothing.
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

# What is there already. Turning an app off would destroy its data with it: refused before anything is touched, instead of
# being stopped halfway by the table's deletion protection.
data "aws_ssm_parameters_by_path" "own" {
  path = "/${var.tenant_id}/"

  lifecycle {
    postcondition {
      condition = local.has_events || var.delete_data || !anytrue([
        for arn in nonsensitive(self.values) : can(regex(":table/consumer-${var.tenant_id}-[a-z0-9]{3}$", arn))
      ])
      error_message = "${var.tenant_id} has a queue and a table of its own, which enable_consumer = false would destroy. Keep them with retain = [\"consumer\"], or apply delete_data = true first."
    }
    postcondition {
      condition = local.has_payments || var.delete_data || !anytrue([
        for arn in nonsensitive(self.values) : can(regex(":table/payments-${var.tenant_id}-[a-z0-9]{3}$", arn))
      ])
      error_message = "${var.tenant_id} has a payments table of its own, which enable_payments = false would destroy. Keep it with retain = [\"payments\"], or apply delete_data = true first."
    }
  }
}

# The pool's parameters, for what the tenant has not for itself. By path, because a pool without payments has fewer.
data "aws_ssm_parameters_by_path" "pool" {
  count = local.is_pool || (var.enable_consumer && var.enable_payments) ? 0 : 1
  path  = "/${var.pool_id}/"

  lifecycle {
    postcondition {
      # A tenant that is gone needs no pool: nobody is answered for it.
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

  # Where the environment's services find their queue and tables: their own, or the pool's.
  consumer_sqs = var.enable_consumer ? aws_sqs_queue.consumer[0].arn : lookup(local.pool_parameters, "/${var.pool_id}/consumer_sqs", null)
  consumer_ddb = var.enable_consumer ? aws_dynamodb_table.consumer[0].arn : lookup(local.pool_parameters, "/${var.pool_id}/consumer_ddb", null)
  payments_ddb = var.enable_payments ? aws_dynamodb_table.payments[0].arn : lookup(local.pool_parameters, "/${var.pool_id}/payments_ddb", null)
}
