# One role per app that runs here, `<app>-role-<tenantId>`. Only one service account of one cluster may assume it.

locals {
  enabled = {
    producer = var.enable_producer
    consumer = var.enable_consumer
    payments = var.enable_payments
  }
  workloads = {
    for app, enabled in local.enabled : app => {
      namespace       = lookup(var.namespaces, app, var.tenant_id)
      service_account = "${var.tenant_id}-${app}"
    } if enabled && var.identity != "none"
  }

  oidc_issuer = replace(var.oidc_provider_arn, "/^.*:oidc-provider\\//", "")

  # EKS tags a pod's session with its cluster, namespace and service account. Only EKS of this account may do so.
  trust_pod_identity = { for app, workload in local.workloads : app => {
    Sid       = "PodIdentity"
    Effect    = "Allow"
    Principal = { Service = "pods.eks.amazonaws.com" }
    Action    = ["sts:AssumeRole", "sts:TagSession"]
    Condition = {
      StringEquals = {
        "aws:SourceAccount"                         = local.account
        "aws:RequestTag/kubernetes-namespace"       = workload.namespace
        "aws:RequestTag/kubernetes-service-account" = workload.service_account
      }
      ArnEquals = {
        "aws:RequestTag/eks-cluster-arn" = "arn:${local.partition}:eks:${local.region}:${local.account}:cluster/${var.cluster_name}"
      }
    }
  } }
  trust_irsa = { for app, workload in local.workloads : app => {
    Sid       = "ServiceAccount"
    Effect    = "Allow"
    Principal = { Federated = var.oidc_provider_arn }
    Action    = "sts:AssumeRoleWithWebIdentity"
    Condition = {
      StringEquals = {
        "${local.oidc_issuer}:aud" = "sts.amazonaws.com"
        "${local.oidc_issuer}:sub" = "system:serviceaccount:${workload.namespace}:${workload.service_account}"
      }
    }
  } }
}

resource "aws_iam_role" "app" {
  for_each = local.workloads

  name        = "${each.key}-role-${var.tenant_id}"
  path        = var.role_path
  description = "${each.key} of ${var.tenant_id}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    # Encoded before the choice: the statements have different types, and a conditional needs one type.
    Statement = [jsondecode(
      var.identity == "irsa" ? jsonencode(local.trust_irsa[each.key]) : jsonencode(local.trust_pod_identity[each.key])
    )]
  })
  permissions_boundary = local.permissions_boundary_arn
  tags                 = merge(local.tags, { "tenantry/app" = each.key })

  lifecycle {
    precondition {
      condition     = var.identity != "pod_identity" || var.cluster_name != ""
      error_message = "identity is pod_identity: set cluster_name to the EKS cluster whose pods assume the roles."
    }
    precondition {
      condition     = var.identity != "irsa" || var.oidc_provider_arn != ""
      error_message = "identity is irsa: set oidc_provider_arn to the IAM OIDC provider of the cluster."
    }
  }
}

resource "aws_iam_role_policy" "app" {
  for_each = local.workloads

  name = each.key
  role = aws_iam_role.app[each.key].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = local.statements[each.key]
  })
}

resource "aws_eks_pod_identity_association" "app" {
  for_each = var.identity == "pod_identity" ? local.workloads : {}

  cluster_name    = var.cluster_name
  namespace       = each.value.namespace
  service_account = each.value.service_account
  role_arn        = aws_iam_role.app[each.key].arn
  tags            = local.tags

  # A pod that started before the policy exists would have no rights.
  depends_on = [aws_iam_role_policy.app]
}
