# Parameters for the services and the tenant registry. They are made last, because a tenant exists as soon as they do. The
# generation is the first of them and the last to go: without it, a new owner of an id would pass for the first owner.
#
# A move to another tier changes the home of the tenant's data. What the services must know of it is written before the new home:
# no service may write payments in the new table before they are copied, and the former consumer must forward late messages.
# `tenantctl settle` ends the move; docs/decisions/moves.md has the steps.

locals {
  # Owners of the registered resources, by the names that this module gives: `<app>-<owner>-<3 characters>`.
  own_parameters = zipmap(data.aws_ssm_parameters_by_path.own.names, nonsensitive(data.aws_ssm_parameters_by_path.own.values))
  registered = { for app, name in { consumer = "consumer_sqs", payments = "payments_ddb" } :
    app => try(regex("[:/]${app}-(.+)-[a-z0-9]{3}$", local.own_parameters["/${var.tenant_id}/${name}"])[0], null)
  }
  next = {
    consumer = var.enable_consumer ? var.tenant_id : var.pool_id
    payments = var.enable_payments ? var.tenant_id : var.pool_id
  }
  has_moved = { for app, owner in local.registered :
    app => !local.is_pool && owner != null && owner != local.next[app]
  }

  # The environment whose consumer forwards late messages, until the next move.
  moved_from = local.has_moved.consumer ? local.registered.consumer : lookup(local.own_parameters, "/${var.tenant_id}/moved_from", null)

  # The former home of each app's data, until it is settled.
  unsettled = { for app, owner in local.registered :
    app => local.has_moved[app] ? owner : local.is_pool ? null : lookup(local.own_parameters, "/${var.tenant_id}/unsettled_${app}", null)
  }

  first = merge(
    local.is_pool ? {} : { status = local.status },
    local.is_pool || local.moved_from == null ? {} : { moved_from = local.moved_from },
    { for app, former in local.unsettled : "unsettled_${app}" => former if former != null },
    # Resources that the tenant has left, for `tenantctl settle`.
    local.has_events && !var.enable_consumer ? {
      retained_consumer_sqs = aws_sqs_queue.consumer[0].arn
      retained_consumer_ddb = aws_dynamodb_table.consumer[0].arn
    } : {},
    local.has_payments && !var.enable_payments ? { retained_payments_ddb = aws_dynamodb_table.payments[0].arn } : {},
  )

  parameters = merge(
    var.enable_consumer || local.pool_has_events ? {
      consumer_sqs = local.consumer_sqs
      consumer_ddb = local.consumer_ddb
    } : {},
    var.enable_payments || local.pool_has_payments ? { payments_ddb = local.payments_ddb } : {},
    local.is_pool ? {} : { tier = local.tier },
  )
  status = var.suspended ? "suspended" : local.unsettled.payments != null ? "moving" : "active"

  # The index: an entry for each tenant, and one for each that is not active. The services of pools read both paths.
  entries = local.is_pool ? {} : merge(
    { tenants = local.tier },
    # No status: until the move is settled, services read the tenant itself.
    anytrue([for former in local.unsettled : former != null]) ? { refused = "moved" } :
    local.status == "active" ? {} : { refused = local.status },
  )
}

resource "aws_ssm_parameter" "generation" {
  count = var.generation == "" ? 0 : 1

  name        = "/${var.tenant_id}/generation"
  description = "Written by terraform/modules/tenant-apps; do not edit"
  type        = "String"
  tier        = "Standard"
  value       = var.generation
  tags        = local.tags

  depends_on = [
    aws_sqs_queue_policy.tls_only,
    aws_sqs_queue_redrive_allow_policy.dead_letter,
    aws_iam_role_policy.app,
    aws_eks_pod_identity_association.app,
  ]
}

moved {
  from = aws_ssm_parameter.tenant["status"]
  to   = aws_ssm_parameter.first["status"]
}

resource "aws_ssm_parameter" "first" {
  for_each = local.first

  name        = "/${var.tenant_id}/${each.key}"
  description = "Written by terraform/modules/tenant-apps; do not edit"
  type        = "String"
  tier        = "Standard"
  value       = each.value
  tags        = local.tags

  depends_on = [aws_ssm_parameter.generation]
}

resource "aws_ssm_parameter" "tenant" {
  for_each = local.parameters

  name        = "/${var.tenant_id}/${each.key}"
  description = "Written by terraform/modules/tenant-apps; do not edit"
  # The values are ARNs and names, not secrets, so no key is needed to read them.
  type  = "String"
  tier  = "Standard"
  value = each.value
  tags  = local.tags

  depends_on = [aws_ssm_parameter.first]
}

resource "aws_ssm_parameter" "index" {
  for_each = local.entries

  name        = "/tenantry/${each.key}/${var.tenant_id}"
  description = "Written by terraform/modules/tenant-apps; do not edit"
  type        = "String"
  tier        = "Standard"
  value       = each.value
  tags        = local.tags

  depends_on = [aws_ssm_parameter.tenant]
}
