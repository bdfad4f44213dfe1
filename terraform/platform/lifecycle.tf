# Queues of the lifecycle messages onboarding, offboarding and deployment. Clients depend on their names.

locals {
  lifecycle_queues = toset(["onboarding", "offboarding", "deployment"])
}

resource "aws_sqs_queue" "lifecycle" {
  for_each = local.lifecycle_queues

  name = "argoworkflows-${each.key}-queue"
  # Longer than a commit with its retries. A running worker extends it.
  visibility_timeout_seconds = 300
  receive_wait_time_seconds  = 20
  message_retention_seconds  = 345600
  sqs_managed_sse_enabled    = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.lifecycle_dead_letter[each.key].arn
    maxReceiveCount     = 5
  })

  tags = local.tags
}

resource "aws_sqs_queue" "lifecycle_dead_letter" {
  for_each = local.lifecycle_queues

  name                      = "argoworkflows-${each.key}-queue-dlq"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "lifecycle" {
  for_each = local.lifecycle_queues

  queue_url = aws_sqs_queue.lifecycle_dead_letter[each.key].url
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.lifecycle[each.key].arn]
  })
}

resource "aws_sqs_queue_policy" "lifecycle" {
  for_each = merge(
    { for name, queue in aws_sqs_queue.lifecycle : name => queue },
    { for name, queue in aws_sqs_queue.lifecycle_dead_letter : "${name}-dlq" => queue },
  )

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
