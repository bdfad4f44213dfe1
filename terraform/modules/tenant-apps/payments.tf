# The table of the tenant's payments.

resource "random_string" "payments" {
  count   = local.has_payments ? 1 : 0
  length  = 3
  upper   = false
  special = false
}

resource "aws_dynamodb_table" "payments" {
  count        = local.has_payments ? 1 : 0
  name         = "payments-${var.tenant_id}-${random_string.payments[0].result}"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "tenant_id"
  range_key    = "sk"

  attribute {
    name = "tenant_id"
    type = "S"
  }
  attribute {
    name = "sk"
    type = "S"
  }
  attribute {
    name = "outbox_shard"
    type = "S"
  }
  attribute {
    name = "outbox_at"
    type = "S"
  }

  # Contains the events that are not sent yet. An item loses its shard once its event is sent.
  global_secondary_index {
    name            = "outbox"
    hash_key        = "outbox_shard"
    range_key       = "outbox_at"
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

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  deletion_protection_enabled = !var.delete_data
  tags                        = local.tags
}
