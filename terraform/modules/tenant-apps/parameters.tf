# Parameters for the services and the tenant registry. They are made last, because a tenant exists as soon as they do. The
# generation is the first of them and the last to go: without it, a new owner of an id would pass for the first owner.

locals {
  parameters = merge(
    var.enable_consumer || local.pool_has_events ? {
      consumer_sqs = local.consumer_sqs
      consumer_ddb = local.consumer_ddb
    } : {},
    var.enable_payments || local.pool_has_payments ? { payments_ddb = local.payments_ddb } : {},
    local.is_pool ? {} : {
      tier   = local.tier
      status = local.status
    },
  )
  status = var.suspended ? "suspended" : "active"

  # The index: an entry for each tenant, and one for each that is not active. The services of pools read both paths.
  entries = local.is_pool ? {} : merge(
    { tenants = local.tier },
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

resource "aws_ssm_parameter" "tenant" {
  for_each = local.parameters

  name        = "/${var.tenant_id}/${each.key}"
  description = "Written by terraform/modules/tenant-apps; do not edit"
  # The values are ARNs and names, not secrets, so no key is needed to read them.
  type  = "String"
  tier  = "Standard"
  value = each.value
  tags  = local.tags

  depends_on = [
    aws_ssm_parameter.generation,
    aws_sqs_queue_policy.tls_only,
    aws_sqs_queue_redrive_allow_policy.dead_letter,
    aws_iam_role_policy.app,
    aws_eks_pod_identity_association.app,
  ]
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
