# Shared by all tenants: names, trust of the roles, and limits of the runner.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/tenantry-tenants" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/a-role", id = "a-role" }
  }
  mock_resource "aws_ecr_repository" {
    defaults = { arn = "arn:aws:ecr:eu-west-1:123456789012:repository/a-repository" }
  }
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
}

run "repositories_are_immutable_and_scanned" {
  variables {
    repository_prefix = "tenantry/"
    build_cache       = "cache"
  }

  assert {
    condition     = alltrue([for name, r in aws_ecr_repository.published : r.image_tag_mutability == "IMMUTABLE" && one(r.image_scanning_configuration).scan_on_push if name != "tenantry/cache"])
    error_message = "A tag could move, or a push is not scanned."
  }
  assert {
    condition     = contains(keys(aws_ecr_repository.published), "tenantry/charts/helm-tenant-chart") && aws_ecr_repository.published["tenantry/cache"].image_tag_mutability == "MUTABLE"
    error_message = "The workflows push to other repositories."
  }
  assert {
    condition     = length(aws_iam_role.push) + length(aws_iam_openid_connect_provider.github) == 0
    error_message = "A push role exists without github_repository."
  }
}

run "the_lifecycle_queues_follow_the_contract" {
  assert {
    condition = toset([for q in aws_sqs_queue.lifecycle : q.name]) == toset([
      "argoworkflows-onboarding-queue", "argoworkflows-offboarding-queue", "argoworkflows-deployment-queue",
    ])
    error_message = "The queues' names differ from the contract."
  }
  assert {
    condition     = length(aws_sqs_queue_policy.lifecycle) == 6 && alltrue([for q in aws_sqs_queue.lifecycle : jsondecode(q.redrive_policy).maxReceiveCount == 5 && q.sqs_managed_sse_enabled])
    error_message = "A queue lacks TLS, encryption or its dead-letter queue."
  }
}

run "the_service_accounts_match_the_gitops_tree" {
  assert {
    condition = toset(keys(aws_eks_pod_identity_association.cluster)) == toset([
      "tenantry/tenantctl", "flux-tenants/tf-runner", "flux-system/source-controller", "flux-system/image-reflector-controller",
      "onboarding-service/onboarding-service",
    ])
    error_message = "A role is associated with another account."
  }
}

run "the_control_plane_reads_parameters_and_queues_and_only_moves_dead_letters" {
  variables {
    reply_queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:events"]
  }

  assert {
    condition = toset(flatten([for s in jsondecode(aws_iam_role_policy.cluster["onboarding-service"].policy).Statement : s.Action])) == toset([
      "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:SendMessage", "sqs:StartMessageMoveTask",
      "ssm:GetParameter", "ssm:GetParameters",
    ])
    error_message = "The control plane's role differs from its calls."
  }
  assert {
    condition = alltrue([for s in jsondecode(aws_iam_role_policy.cluster["onboarding-service"].policy).Statement :
      s.Resource == "arn:aws:sqs:eu-west-1:123456789012:consumer-*-dlq"
      if length(setintersection(s.Action, ["sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:StartMessageMoveTask"])) > 0
    ])
    error_message = "The control plane could take messages that wait for a consumer."
  }
  assert {
    condition = toset(flatten([for s in jsondecode(aws_iam_role_policy.cluster["onboarding-service"].policy).Statement : s.Resource if contains(s.Action, "sqs:SendMessage")])) == toset([
      "arn:aws:sqs:eu-west-1:123456789012:consumer-*", "arn:aws:sqs:eu-west-1:123456789012:events",
    ])
    error_message = "The control plane could send to a queue that is not a tenant's and not in reply_queue_arns."
  }
}

run "refuses_a_wildcard_reply_queue" {
  command = plan
  variables {
    reply_queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:*"]
  }
  expect_failures = [var.reply_queue_arns]
}

run "the_runner_makes_no_role_without_the_boundary" {
  assert {
    condition = alltrue([for s in jsondecode(aws_iam_role_policy.cluster["tofu-runner"].policy).Statement :
      s.Condition == { StringEquals = { "iam:PermissionsBoundary" = "arn:aws:iam::123456789012:policy/tenantry-tenants" } }
      if length(setintersection(s.Action, ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:DeleteRolePermissionsBoundary"])) > 0
    ])
    error_message = "The runner could make an administrator role."
  }
  assert {
    condition = length(setintersection(
      flatten([for s in jsondecode(aws_iam_role_policy.cluster["tofu-runner"].policy).Statement : s.Action]),
      ["iam:AttachRolePolicy", "iam:DeleteRolePermissionsBoundary", "iam:CreatePolicyVersion", "iam:*", "*"]
    )) == 0
    error_message = "The runner could remove the boundary."
  }
}

run "the_runner_touches_no_role_outside_the_path_of_bounded_roles" {
  assert {
    condition = alltrue(flatten([for s in jsondecode(aws_iam_role_policy.cluster["tofu-runner"].policy).Statement :
      [for r in flatten([s.Resource]) : startswith(r, "arn:aws:iam::123456789012:role${output.role_path}")]
      if length([for a in s.Action : a if startswith(a, "iam:")]) > 0
    ]))
    error_message = "The runner could change the trust policy of a role that was made without the boundary."
  }
}

run "only_the_main_branch_of_one_repository_pushes" {
  variables {
    github_repository = "example/tenantry"
  }

  assert {
    condition = one(jsondecode(aws_iam_role.push[0].assume_role_policy).Statement).Condition == { StringEquals = {
      "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
      "token.actions.githubusercontent.com:sub" = "repo:example/tenantry:ref:refs/heads/main"
    } }
    error_message = "Another branch or repository could push."
  }
  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 1
    error_message = "The OIDC provider for GitHub is missing."
  }
}

run "an_existing_oidc_provider_is_used" {
  variables {
    github_repository        = "example/tenantry"
    github_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "A second OIDC provider for GitHub would be made."
  }
}

run "refuses_a_wildcard_repository" {
  command = plan
  variables {
    github_repository = "example/*"
  }
  expect_failures = [var.github_repository]
}

run "refuses_a_prefix_without_its_slash" {
  command = plan
  variables {
    repository_prefix = "tenantry"
  }
  expect_failures = [var.repository_prefix]
}
