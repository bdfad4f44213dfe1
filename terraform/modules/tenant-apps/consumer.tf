# The tenant's queue, its dead-letter queue, and the table of its events.

resource "random_string" "consumer" {
  count   = local.has_events ? 1 : 0
  length  = 3
  upper   = false
  special = false
}

locals {
  consumer_name = local.has_events ? "consumer-${var.tenant_id}-${random_string.consumer[0].result}" : null
  dlq_name      = local.has_events ? "${local.consumer_name}-dlq" : null
}

resource "aws_sqs_queue" "consumer" {
  count = local.has_events ? 1 : 0
  name  = local.consumer_name

  message_retention_seconds = var.message_retention_seconds
  # Defaults for other receivers. The consumer sets both values in each receive.
  visibility_timeout_seconds = 60
  receive_wait_time_seconds  = 20
  # SQS's maximum, for one message and for a batch of ten.
  max_message_size = 1048576

  sqs_managed_sse_enabled = local.kms_key_arn == null ? true : null
  kms_master_key_id       = local.kms_key_arn

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter[0].arn
    maxReceiveCount     = 5
  })

  # These tags allow the pool's producer to send here, and its consumer to forward, see policies.tf.
  tags = merge(local.tags, { "tenantry/producer" = local.producer_environment }, local.is_pool ? {} : {
    "tenantry/pool" = var.pool_id
  })
}

resource "aws_sqs_queue" "dead_letter" {
  count = local.has_events ? 1 : 0
  name  = local.dlq_name

  message_retention_seconds = 1209600
  max_message_size          = 1048576
  sqs_managed_sse_enabled   = local.kms_key_arn == null ? true : null
  kms_master_key_id         = local.kms_key_arn

  tags = local.tags
}

# Only the tenant's own queue may use this dead-letter queue.
resource "aws_sqs_queue_redrive_allow_policy" "dead_letter" {
  count     = local.has_events ? 1 : 0
  queue_url = aws_sqs_queue.dead_letter[0].url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.consumer[0].arn]
  })
}

resource "aws_sqs_queue_policy" "tls_only" {
  for_each = local.has_events ? { consumer = aws_sqs_queue.consumer[0], dead_letter = aws_sqs_queue.dead_letter[0] } : {}

  queue_url = each.value.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

resource "aws_dynamodb_table" "consumer" {
  count        = local.has_events ? 1 : 0
  name         = local.consumer_name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "tenant_id"
  range_key    = "message_id"

  attribute {
    name = "tenant_id"
    type = "S"
  }
  attribute {
    name = "message_id"
    type = "S"
  }
  attribute {
    name = "listed_at"
    type = "S"
  }

  # Contains only items whose id holds no time. The service lists the other items from the table.
  global_secondary_index {
    name            = "listed"
    hash_key        = "tenant_id"
    range_key       = "listed_at"
    projection_type = "ALL"
  }

  point_in_time_recovery {
    enabled = true
  }

  dynamic "server_side_encryption" {
    for_each = local.kms_key_arn == null ? [] : [local.kms_key_arn]
    content {
      enabled     = true
      kms_key_arn = server_side_encryption.value
    }
  }

  dynamic "ttl" {
    for_each = var.ttl_attribute == "" ? [] : [var.ttl_attribute]
    content {
      attribute_name = ttl.value
      enabled        = true
    }
  }

  deletion_protection_enabled = !var.delete_data
  tags                        = local.tags

  # SQS has no deletion protection. Terraform destroys this table before the queues, so the queues stay while the table is
  # protected.
  depends_on = [aws_sqs_queue.consumer, aws_sqs_queue.dead_letter]
}
