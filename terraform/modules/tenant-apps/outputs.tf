output "tenant_id" {
  description = "Id of the tenant or the pool."
  value       = var.tenant_id
}

output "tier" {
  description = "Tier of the tenant; null for a pool."
  value       = local.is_pool ? null : local.tier
}

output "queue_arn" {
  description = "ARN of the queue of the tenant's events: its own, or the pool's."
  value       = local.consumer_sqs
}

output "queue_url" {
  description = "URL of the tenant's own queue, for the chart's `keda.queueUrl`; null without one."
  value       = one(aws_sqs_queue.consumer[*].url)
}

output "dead_letter_queue_url" {
  description = "URL of the tenant's own dead-letter queue; null without one."
  value       = one(aws_sqs_queue.dead_letter[*].url)
}

output "table_arn" {
  description = "ARN of the table of the tenant's events: its own, or the pool's."
  value       = local.consumer_ddb
}

output "payments_table_arn" {
  description = "ARN of the table of the tenant's payments: its own, or the pool's; null without one."
  value       = local.payments_ddb
}

output "role_arns" {
  description = "ARNs of the roles, by app."
  value       = { for app, role in aws_iam_role.app : app => role.arn }
}

output "reader_role_arn" {
  description = "ARN of the role that reads a pool's events for one tenant; null without one."
  value       = one(aws_iam_role.reader[*].arn)
}

output "parameter_names" {
  description = "Names of the parameters that this module writes."
  value = sort([
    for parameter in concat(
      values(aws_ssm_parameter.first), values(aws_ssm_parameter.tenant), aws_ssm_parameter.generation, values(aws_ssm_parameter.index)
    ) : parameter.name
  ])
}
