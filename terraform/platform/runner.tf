# Rights of the runner of terraform/modules/tenant-apps. An account that makes roles could make itself an administrator. So the
# runner may only make roles of tenants' apps, and only with the permissions boundary below.
#
# IAM compares the boundary for the actions of Sid BoundedRoles alone. For the others, such as a change of the trust policy, the
# role's path takes its place: a role below this path was made with the boundary, and the runner cannot take the boundary away.

locals {
  role_path = "/tenantry/"
  tenant_roles = [
    for app in ["producer", "consumer", "payments", "reader"] :
    "arn:${local.partition}:iam::${local.account}:role${local.role_path}${app}-role-*"
  ]
  tenant_tables = [
    for app in ["consumer", "payments"] : "arn:${local.partition}:dynamodb:${local.region}:${local.account}:table/${app}-*"
  ]
  tenant_queues = "arn:${local.partition}:sqs:${local.region}:${local.account}:consumer-*"
  parameter_arn = "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter"
  index_paths   = [for path in ["tenants", "refused"] : "${local.parameter_arn}/tenantry/${path}"]
  index_entries = [for path in local.index_paths : "${path}/*"]
  tenant_parameters = [
    for name in ["consumer_sqs", "consumer_ddb", "payments_ddb", "tier", "status", "generation", "moved_from"] :
    "${local.parameter_arn}/*/${name}"
  ]

  runner_statements = [for s in [
    {
      Sid    = "Queues"
      Effect = "Allow"
      Action = [
        "sqs:CreateQueue", "sqs:DeleteQueue", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags",
        "sqs:SetQueueAttributes", "sqs:TagQueue", "sqs:UntagQueue",
      ]
      Resource = local.tenant_queues
    },
    {
      Sid    = "Tables"
      Effect = "Allow"
      Action = [
        "dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTable",
        "dynamodb:DescribeTimeToLive", "dynamodb:ListTagsOfResource", "dynamodb:TagResource", "dynamodb:UntagResource",
        "dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTable", "dynamodb:UpdateTimeToLive",
      ]
      Resource = local.tenant_tables
    },
    {
      Sid    = "Parameters"
      Effect = "Allow"
      Action = [
        "ssm:AddTagsToResource", "ssm:DeleteParameter", "ssm:GetParameter", "ssm:GetParameters",
        "ssm:ListTagsForResource", "ssm:PutParameter", "ssm:RemoveTagsFromResource",
      ]
      Resource = concat(local.tenant_parameters, local.index_entries)
    },
    {
      Sid      = "ParametersOfATenant"
      Effect   = "Allow"
      Action   = ["ssm:GetParametersByPath"]
      Resource = "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter/*"
    },
    {
      Sid      = "ListParameters"
      Effect   = "Allow"
      Action   = ["ssm:DescribeParameters"]
      Resource = "*"
    },
    {
      Sid       = "BoundedRoles"
      Effect    = "Allow"
      Action    = ["iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"]
      Resource  = local.tenant_roles
      Condition = { StringEquals = { "iam:PermissionsBoundary" = aws_iam_policy.boundary.arn } }
    },
    {
      Sid    = "Roles"
      Effect = "Allow"
      Action = [
        "iam:DeleteRole", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies",
        "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies", "iam:ListRoleTags", "iam:TagRole", "iam:UntagRole",
        "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription",
      ]
      Resource = local.tenant_roles
    },
    {
      Sid       = "GiveRolesToPods"
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = local.tenant_roles
      Condition = { StringEquals = { "iam:PassedToService" = "pods.eks.amazonaws.com" } }
    },
    {
      Sid    = "PodIdentity"
      Effect = "Allow"
      Action = [
        "eks:CreatePodIdentityAssociation", "eks:DeletePodIdentityAssociation", "eks:DescribePodIdentityAssociation",
        "eks:ListPodIdentityAssociations", "eks:TagResource", "eks:UntagResource", "eks:UpdatePodIdentityAssociation",
      ]
      Resource = [local.cluster_arn, "${replace(local.cluster_arn, ":cluster/", ":podidentityassociation/")}/*"]
    },
    length(var.kms_key_arns) == 0 ? null : {
      Sid      = "EncryptTables"
      Effect   = "Allow"
      Action   = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
      Resource = var.kms_key_arns
      Condition = { StringEquals = { "kms:ViaService" = [
        "dynamodb.${local.region}.amazonaws.com", "sqs.${local.region}.amazonaws.com",
      ] } }
    },
  ] : s if s != null]
}

# Maximum rights of a tenant's role, even if its own policy grants more. `permissions_boundary` of tenant-apps names it.
resource "aws_iam_policy" "boundary" {
  name        = "tenantry-tenants"
  description = "Permissions boundary of the roles of tenants' apps"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for s in [
      {
        Sid    = "Queues"
        Effect = "Allow"
        Action = [
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
          "sqs:ReceiveMessage", "sqs:SendMessage",
        ]
        Resource = local.tenant_queues
      },
      {
        Sid    = "Tables"
        Effect = "Allow"
        Action = [
          "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:GetItem", "dynamodb:PutItem",
          "dynamodb:Query", "dynamodb:UpdateItem",
        ]
        Resource = flatten([for table in local.tenant_tables : [table, "${table}/index/*"]])
      },
      {
        Sid      = "Parameters"
        Effect   = "Allow"
        Action   = ["ssm:GetParameters"]
        Resource = local.tenant_parameters
      },
      {
        Sid      = "IndexOfTenants"
        Effect   = "Allow"
        Action   = ["ssm:GetParametersByPath"]
        Resource = concat(local.index_paths, local.index_entries)
      },
      # A pool's consumer reads as one tenant, with the rights of that tenant's session only.
      {
        Sid      = "OneTenant"
        Effect   = "Allow"
        Action   = ["sts:AssumeRole", "sts:TagSession"]
        Resource = "arn:${local.partition}:iam::${local.account}:role${local.role_path}reader-role-*"
      },
      length(var.kms_key_arns) == 0 ? null : {
        Sid      = "Keys"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = var.kms_key_arns
      },
    ] : s if s != null]
  })
  tags = local.tags
}
