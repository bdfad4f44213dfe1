# Parameters for the services and the tenant registry. They are made last, because a tenant exists as soon as they do.

locals {
  parameters = merge(
    var.enable_consumer || local.pool_has_events ? {
      consumer_sqs = local.consumer_sqs
      consumer_ddb = local.consumer_ddb
    } : {},
    var.enable_payments || local.pool_has_payments ? { payments_ddb = local.payments_ddb } : {},
    local.is_pool ? {} : {
      tier   = local.tier
      status = var.suspended ? "suspended" : "active"
    },
  )
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
    aws_sqs_queue_policy.tls_only,
    aws_sqs_queue_redrive_allow_policy.dead_letter,
    aws_iam_role_policy.app,
    aws_eks_pod_identity_association.app,
  ]
}
