output "registry" {
  description = "Host of the registry: REGISTRY of the cluster's settings."
  value       = "${local.account}.dkr.ecr.${local.region}.amazonaws.com"
}

output "push_role_arn" {
  description = "AWS_ROLE_ARN of the workflows; null without a repository."
  value       = one(aws_iam_role.push[*].arn)
}

output "permissions_boundary" {
  description = "`permissions_boundary` of terraform/modules/tenant-apps."
  value       = aws_iam_policy.boundary.name
}

output "lifecycle_queue_urls" {
  description = "Where onboarding, offboarding and deployment are asked for."
  value       = { for name, queue in aws_sqs_queue.lifecycle : name => queue.url }
}

output "role_arns" {
  description = "ARN of each role of the cluster, by name."
  value       = { for name, role in aws_iam_role.cluster : name => role.arn }
}
