output "tenant_id" {
  description = "The tenant, or the pool."
  value       = var.tenant_id
}

output "tier" {
  description = "Its tier; null for a pool."
  value       = local.is_pool ? null : local.tier
}

output "queue_arn" {
  description = "Where its events go: its own queue, or the pool's."
  value       = local.consumer_sqs
}

output "queue_url" {
  description = "URL of its own queue; null where it has none. The chart's `keda.queueUrl`."
  value       = one(aws_sqs_queue.consumer[*].url)
}

output "dead_letter_queue_url" {
  description = "URL of its own dead-letter queue; null where it has none."
  value       = one(aws_sqs_queue.dead_letter[*].url)
}

output "table_arn" {
  description = "Where its events are stored: its own table, or the pool's."
  value       = local.consumer_ddb
}

output "payments_table_arn" {
  description = "Where its payments are; null where neither it nor the pool has any."
  value       = local.payments_ddb
}

output "role_arns" {
  description = "ARN of each app's role, by app."
  value       = { for app, role in aws_iam_role.app : app => role.arn }
}

output "reader_role_arn" {
  description = "ARN of the role that reads a pool's events for one tenant; null where there is none."
  value       = one(aws_iam_role.reader[*].arn)
}

output "parameter_names" {
  description = "The parameters written."
  value       = sort([for parameter in aws_ssm_parameter.tenant : parameter.name])
}
