# Roles of the cluster's service accounts, by EKS Pod Identity. Only the listed accounts may assume a role.

locals {
  roles = {
    # Receives lifecycle messages: the worker or Argo's event source, both as the same account.
    tenantctl = { accounts = { tenantctl = "tenantry" }, statements = local.tenantctl_statements }
    # The API and the console: names and figures of the tenants' queues, and redrive.
    onboarding-service = { accounts = { onboarding-service = "onboarding-service" }, statements = local.control_plane_statements }
    # Runs terraform/modules/tenant-apps for tofu-controller.
    tofu-runner = { accounts = { tf-runner = "flux-tenants" }, statements = local.runner_statements }
    # Pulls charts and lists new image tags.
    flux = {
      accounts   = { source-controller = "flux-system", image-reflector-controller = "flux-system" }
      statements = local.flux_statements
    }
  }
  accounts = merge([
    for role, it in local.roles : { for account, namespace in it.accounts : "${namespace}/${account}" => { role = role, account = account, namespace = namespace } }
  ]...)

  tenantctl_statements = [
    {
      Sid    = "ReceiveRequests"
      Effect = "Allow"
      Action = [
        "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility",
        "sqs:GetQueueUrl", "sqs:GetQueueAttributes",
      ]
      Resource = [for queue in aws_sqs_queue.lifecycle : queue.arn]
    },
    {
      Sid      = "DeadLetterInvalidRequests"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage", "sqs:GetQueueUrl"]
      Resource = [for queue in aws_sqs_queue.lifecycle_dead_letter : queue.arn]
    },
  ]

  # Names of the parameters that the console shows.
  shown_parameters = [
    for name in ["consumer_ddb", "consumer_sqs", "generation", "payments_ddb", "status", "tier"] : "${local.parameter_arn}/*/${name}"
  ]

  control_plane_statements = [for s in [
    {
      Sid      = "ReadParameters"
      Effect   = "Allow"
      Action   = ["ssm:GetParameter", "ssm:GetParameters"]
      Resource = local.shown_parameters
    },
    {
      Sid      = "ReadQueues"
      Effect   = "Allow"
      Action   = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl"]
      Resource = local.tenant_queues
    },
    # SQS moves the messages of a redrive with the caller's rights: it receives and deletes there, and sends to the queue. The
    # service itself receives nothing.
    {
      Sid      = "RedriveFrom"
      Effect   = "Allow"
      Action   = ["sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:StartMessageMoveTask"]
      Resource = "${local.tenant_queues}-dlq"
    },
    {
      Sid      = "RedriveTo"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage"]
      Resource = local.tenant_queues
    },
    length(var.kms_key_arns) == 0 ? null : {
      Sid       = "RedriveEncrypted"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = var.kms_key_arns
      Condition = { StringEquals = { "kms:ViaService" = "sqs.${local.region}.amazonaws.com" } }
    },
    length(var.reply_queue_arns) == 0 ? null : {
      Sid      = "Reply"
      Effect   = "Allow"
      Action   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
      Resource = var.reply_queue_arns
    },
  ] : s if s != null]

  flux_statements = [
    {
      Sid      = "SignIn"
      Effect   = "Allow"
      Action   = ["ecr:GetAuthorizationToken"]
      Resource = "*"
    },
    {
      Sid    = "Pull"
      Effect = "Allow"
      Action = [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages",
        "ecr:GetDownloadUrlForLayer", "ecr:ListImages",
      ]
      Resource = [for name in keys(local.published) : aws_ecr_repository.published[name].arn]
    },
  ]
}

resource "aws_iam_role" "cluster" {
  for_each = local.roles

  name = "tenantry-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "PodIdentity"
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Condition = {
        StringEquals = {
          "aws:SourceAccount"                         = local.account
          "aws:RequestTag/kubernetes-namespace"       = distinct(values(each.value.accounts))
          "aws:RequestTag/kubernetes-service-account" = keys(each.value.accounts)
        }
        ArnEquals = { "aws:RequestTag/eks-cluster-arn" = local.cluster_arn }
      }
    }]
  })
  tags = local.tags
}

resource "aws_iam_role_policy" "cluster" {
  for_each = local.roles

  name   = each.key
  role   = aws_iam_role.cluster[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value.statements })
}

resource "aws_eks_pod_identity_association" "cluster" {
  for_each = local.accounts

  cluster_name    = var.cluster_name
  namespace       = each.value.namespace
  service_account = each.value.account
  role_arn        = aws_iam_role.cluster[each.value.role].arn
  tags            = local.tags

  depends_on = [aws_iam_role_policy.cluster]
}
