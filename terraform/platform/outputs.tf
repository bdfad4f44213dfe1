output "registry" {
  description = "Host of the registry, for REGISTRY in the cluster's settings."
  value       = "${local.account}.dkr.ecr.${local.region}.amazonaws.com"
}

output "push_role_arn" {
  description = "ARN for AWS_ROLE_ARN of the workflows; null without github_repository."
  value       = one(aws_iam_role.push[*].arn)
}

output "role_path" {
  description = "Path for `role_path` of terraform/modules/tenant-apps: the runner may only touch roles below it."
  value       = local.role_path
}

output "permissions_boundary" {
  description = "Name of the policy for `permissions_boundary` of terraform/modules/tenant-apps."
  value       = aws_iam_policy.boundary.name
}

output "lifecycle_queue_urls" {
  description = "URLs of the lifecycle queues, by message kind."
  value       = { for name, queue in aws_sqs_queue.lifecycle : name => queue.url }
}

output "role_arns" {
  description = "ARNs of the cluster's roles, by name."
  value       = { for name, role in aws_iam_role.cluster : name => role.arn }
}
