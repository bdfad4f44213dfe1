# What each app may do: the calls its code makes, on the resources it makes them on, and nothing else. No role may Scan.
#
# A silo's role is bound to its tenant: its own queue, its own parameters, and in its table the one partition that is the
# tenant's.
#
# A pool's role serves every tenant of the pool, with one set of credentials, so IAM cannot tell for whom a call is made:
# keeping tenants apart there is the services' work. IAM still says that a read names a partition (no Scan, and the Null
# guard, because ForAllValues lets a request without keys pass). Whoever reads for one tenant at a time assumes
# `reader-role-<pool>` with the session tag `tenant`, and then IAM does keep it to that partition. With
# `tenant_scoped_reads` the pool's consumer is one of them, and has no read of its own any more.
#
# The pool's producer also sends to the queues of advanced tenants. That grant is one statement about a tag, whatever the
# number of tenants: a policy attached for each tenant stops at about ten, an inline one at 10,240 characters. A policy on
# each queue that names the pool's role would do as well, but ends silently when the role is made anew, because SQS keeps
# the id of the role it knew. The tag is written with the queue, by this module alone. Regions without tag conditions for
# SQS are listed in AWS's page on attribute-based access control for SQS.

locals {
  parameter_arn = "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter"

  # A pool asks for any tenant, a silo for its owner.
  of_tenants = local.is_pool ? "*" : var.tenant_id
  registry = [
    for name in ["consumer_sqs", "tier", "status"] : "${local.parameter_arn}/${local.of_tenants}/${name}"
  ]

  # Only the partition of the silo's tenant; in a pool, any one partition.
  own_partition = merge(
    { "Null" = { "dynamodb:LeadingKeys" = "false" } },
    local.is_pool ? {} : { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = [var.tenant_id] } },
  )

  # The environment's own queue and tables; where an app runs without its data (a producer alone in a silo) the pool's.
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
        Sid      = "SetAsidePoison"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage", "sqs:GetQueueUrl"]
        Resource = local.dead_letter_arn
      },
      {
        Sid       = "StoreEvents"
        Effect    = "Allow"
        Action    = ["dynamodb:BatchWriteItem", "dynamodb:PutItem"]
        Resource  = local.consumer_table_arn
        Condition = local.own_partition
      },
      # GET /consumer/messages lists the caller's own events: the only read there is. No GetItem, no Scan.
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
        # A transaction needs the rights of its parts; BatchWriteItem takes sent events out of the outbox.
        Action = [
          "dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem",
          "dynamodb:ConditionCheckItem", "dynamodb:BatchWriteItem",
        ]
        Resource  = local.payments_table_arn
        Condition = local.own_partition
      },
      # Its partitions are shards, not tenants.
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

# Reads of a pool's table for one tenant at a time: the listing, reports, exports, support. The session tag is the tenant.
resource "aws_iam_role" "reader" {
  count = local.reads_pooled ? 1 : 0

  name        = "reader-role-${var.tenant_id}"
  description = "Reads the events of one tenant of ${var.tenant_id}: the one in the session tag tenant"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ForOneTenant"
      Effect    = "Allow"
      Principal = { AWS = local.readers }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      # Without the tag there would be nothing to compare with.
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
          # ForAllValues alone lets a request without keys pass.
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
