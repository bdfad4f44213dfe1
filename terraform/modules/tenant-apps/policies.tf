# Rights of each app: the calls that its code makes, on the resources that it calls, and no others. No role may Scan.
#
# A silo's role is restricted to its tenant: the tenant's queue, parameters and partition.
#
# A pool's role serves every tenant of the pool with one set of credentials, so IAM cannot separate the tenants: the services
# do. IAM only requires that a read names a partition (no Scan, and the Null guard, because ForAllValues accepts a request
# without keys). A role that reads for one tenant at a time assumes `reader-role-<pool>` with the session tag `tenant`; IAM then
# restricts the session to that partition. With `tenant_scoped_reads` the pool's consumer reads only this way.
#
# The pool's producer also sends to the queues of advanced tenants. One statement with a tag condition grants this for any number
# of tenants. Attached policies would end at about ten tenants, an inline policy at 10,240 characters. A policy on each queue
# that names the pool's role would fail silently once the role is made anew, because SQS keeps the old role's id. Only this module
# writes the tag, together with the queue. AWS's page on attribute-based access control for SQS lists regions without tag
# conditions.

locals {
  parameter_arn = "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter"

  # A pool reads every tenant's registration, a silo only its owner's.
  of_tenants = local.is_pool ? "*" : var.tenant_id
  registry = [
    for name in ["consumer_sqs", "tier", "status", "generation", "moved_from"] :
    "${local.parameter_arn}/${local.of_tenants}/${name}"
  ]
  # A pool reads the index of tenants by path. A silo, which only its owner's id reaches, reads no index: its path is its own.
  read_index = {
    Sid    = "ReadIndexOfTenants"
    Effect = "Allow"
    Action = ["ssm:GetParametersByPath"]
    Resource = [
      for path in local.is_pool ? tolist(["tenantry/tenants", "tenantry/tenants/*", "tenantry/refused", "tenantry/refused/*"]) : tolist([var.tenant_id]) :
      "${local.parameter_arn}/${path}"
    ]
  }

  # A silo: only its tenant's partition. A pool: any partition that the request names.
  own_partition = merge(
    { "Null" = { "dynamodb:LeadingKeys" = "false" } },
    local.is_pool ? {} : { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = [var.tenant_id] } },
  )

  # The environment's own queue and tables. For an app without its own data, such as a producer alone in a silo, the pool's.
  queue_arn          = local.consumer_sqs
  dead_letter_arn    = local.has_events ? aws_sqs_queue.dead_letter[0].arn : null
  consumer_table_arn = local.consumer_ddb
  payments_table_arn = local.payments_ddb

  send_to_tenants = {
    Sid       = "SendToTenantsOfThisPool"
    Effect    = "Allow"
    Action    = ["sqs:SendMessage", "sqs:GetQueueUrl"]
    Resource  = "arn:${local.partition}:sqs:${local.region}:${local.account}:consumer-*"
    Condition = { StringEquals = { "aws:ResourceTag/tenantry/producer" = var.tenant_id } }
  }
  # A tenant that has moved from the pool to its silo: the pool's consumer forwards its late messages.
  forward_to_tenants = {
    Sid       = "ForwardToTenantsThatHaveMoved"
    Effect    = "Allow"
    Action    = ["sqs:SendMessage", "sqs:GetQueueUrl"]
    Resource  = "arn:${local.partition}:sqs:${local.region}:${local.account}:consumer-*"
    Condition = { StringEquals = { "aws:ResourceTag/tenantry/pool" = var.tenant_id } }
  }
  send_to_own = {
    Sid      = "SendToQueue"
    Effect   = "Allow"
    Action   = ["sqs:SendMessage", "sqs:GetQueueUrl"]
    Resource = local.queue_arn
  }

  all_statements = {
    producer = [
      local.queue_arn == null ? null : local.send_to_own,
      local.is_pool ? local.send_to_tenants : null,
      {
        Sid      = "ReadRegistry"
        Effect   = "Allow"
        Action   = ["ssm:GetParameters"]
        Resource = local.registry
      },
      local.read_index,
      local.kms_key_arn == null ? null : {
        Sid       = "EncryptEvents"
        Effect    = "Allow"
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = local.kms_key_arn
        Condition = { StringEquals = { "kms:ViaService" = "sqs.${local.region}.amazonaws.com" } }
      },
    ]

    consumer = [
      {
        Sid    = "DrainQueue"
        Effect = "Allow"
        Action = [
          "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility",
          "sqs:GetQueueUrl", "sqs:GetQueueAttributes",
        ]
        Resource = local.queue_arn
      },
      {
        Sid      = "DeadLetterPoison"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage", "sqs:GetQueueUrl"]
        Resource = local.dead_letter_arn
      },
      local.is_pool ? local.forward_to_tenants : null,
      {
        Sid       = "StoreEvents"
        Effect    = "Allow"
        Action    = ["dynamodb:BatchWriteItem", "dynamodb:PutItem"]
        Resource  = local.consumer_table_arn
        Condition = local.own_partition
      },
      # The only read: GET /consumer/messages lists the caller's own events. No GetItem, no Scan.
      local.reads_scoped ? null : {
        Sid       = "ListEvents"
        Effect    = "Allow"
        Action    = ["dynamodb:Query"]
        Resource  = [local.consumer_table_arn, "${coalesce(local.consumer_table_arn, "-")}/index/listed"]
        Condition = local.own_partition
      },
      !local.reads_scoped ? null : {
        Sid      = "ListEventsAsTheirTenant"
        Effect   = "Allow"
        Action   = ["sts:AssumeRole", "sts:TagSession"]
        Resource = aws_iam_role.reader[0].arn
      },
      {
        Sid      = "ReadRegistryAndOwnResources"
        Effect   = "Allow"
        Action   = ["ssm:GetParameters"]
        Resource = concat(local.registry, ["${local.parameter_arn}/${var.tenant_id}/consumer_ddb"])
      },
      local.read_index,
      local.kms_key_arn == null ? null : {
        Sid      = "DecryptEventsEncryptItems"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = local.kms_key_arn
        Condition = { StringEquals = { "kms:ViaService" = [
          "sqs.${local.region}.amazonaws.com", "dynamodb.${local.region}.amazonaws.com",
        ] } }
      },
    ]

    payments = [
      {
        Sid    = "KeepPayments"
        Effect = "Allow"
        # A transaction needs the rights of its parts. BatchWriteItem removes sent events from the outbox.
        Action = [
          "dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem",
          "dynamodb:ConditionCheckItem", "dynamodb:BatchWriteItem",
        ]
        Resource  = local.payments_table_arn
        Condition = local.own_partition
      },
      # The index's partitions are shards, not tenants.
      {
        Sid      = "ReadOutbox"
        Effect   = "Allow"
        Action   = ["dynamodb:Query"]
        Resource = "${coalesce(local.payments_table_arn, "-")}/index/outbox"
      },
      local.queue_arn == null ? null : local.send_to_own,
      local.is_pool ? local.send_to_tenants : null,
      {
        Sid      = "ReadRegistryAndTables"
        Effect   = "Allow"
        Action   = ["ssm:GetParameters"]
        Resource = concat(local.registry, ["${local.parameter_arn}/${local.of_tenants}/payments_ddb"])
      },
      local.read_index,
      local.kms_key_arn == null ? null : {
        Sid      = "EncryptEventsAndItems"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = local.kms_key_arn
        Condition = { StringEquals = { "kms:ViaService" = [
          "sqs.${local.region}.amazonaws.com", "dynamodb.${local.region}.amazonaws.com",
        ] } }
      },
    ]
  }

  statements = { for app, statements in local.all_statements : app => [for s in statements : s if s != null] }
}

# Reads a pool's table for one tenant at a time, named by the session tag: for the listing, reports, exports, support.
resource "aws_iam_role" "reader" {
  count = local.reads_pooled ? 1 : 0

  name        = "reader-role-${var.tenant_id}"
  path        = var.role_path
  description = "Reads the events of one tenant of ${var.tenant_id}: the one in the session tag tenant"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ForOneTenant"
      Effect    = "Allow"
      Principal = { AWS = local.readers }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      # Requires the tag, because the policy below compares the partition with it.
      Condition = { StringLike = { "aws:RequestTag/tenant" = "?*" } }
    }]
  })
  permissions_boundary = local.permissions_boundary_arn
  tags                 = merge(local.tags, { "tenantry/app" = "reader" })
}

resource "aws_iam_role_policy" "reader" {
  count = local.reads_pooled ? 1 : 0

  name = "reader"
  role = aws_iam_role.reader[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for s in [
      {
        Sid      = "ListEventsOfTheTaggedTenant"
        Effect   = "Allow"
        Action   = ["dynamodb:Query"]
        Resource = [aws_dynamodb_table.consumer[0].arn, "${aws_dynamodb_table.consumer[0].arn}/index/listed"]
        Condition = {
          # ForAllValues alone accepts a request without keys.
          "Null"                      = { "dynamodb:LeadingKeys" = "false" }
          "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["$${aws:PrincipalTag/tenant}"] }
        }
      },
      local.kms_key_arn == null ? null : {
        Sid       = "DecryptItems"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = local.kms_key_arn
        Condition = { StringEquals = { "kms:ViaService" = "dynamodb.${local.region}.amazonaws.com" } }
      },
    ] : s if s != null]
  })
}

locals {
  reads_scoped = local.is_pool && var.enable_consumer && var.tenant_scoped_reads && var.identity != "none"
  reads_pooled = local.reads_scoped || (local.is_pool && var.enable_consumer && length(var.pooled_reader_principal_arns) > 0)
  readers = concat(
    var.pooled_reader_principal_arns, [for app, role in aws_iam_role.app : role.arn if local.reads_scoped && app == "consumer"]
  )
}
