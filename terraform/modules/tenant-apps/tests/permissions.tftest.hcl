# Rights of the roles, statement by statement. tests/terraform checks the same documents for rights that no role may have.

# Mocked AWS: account 123456789012 in eu-west-1, where pool-1 exists with payments. OpenTofu reads no mocks from a file, so each
# test file repeats them.
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
  mock_data "aws_ssm_parameters_by_path" {
    defaults = {
      names = ["/pool-1/consumer_sqs", "/pool-1/consumer_ddb", "/pool-1/payments_ddb"]
      values = [
        "arn:aws:sqs:eu-west-1:123456789012:consumer-pool-1-abc",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/consumer-pool-1-abc",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/payments-pool-1-def",
      ]
    }
  }
  mock_resource "aws_sqs_queue" {
    defaults = {
      arn = "arn:aws:sqs:eu-west-1:123456789012:own-queue"
      url = "https://sqs.eu-west-1.amazonaws.com/123456789012/own-queue"
    }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/own-table" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/a-role", id = "a-role" }
  }
}
mock_provider "random" {
  mock_resource "random_string" {
    defaults = { result = "x1y" }
  }
}

variables {
  tenant_id       = "tenant-1"
  cluster_name    = "tenantry"
  enable_producer = true
  enable_consumer = true
  enable_payments = true
}

run "a_silos_producer_sends_only_to_its_own_queue" {
  assert {
    condition = { for s in jsondecode(aws_iam_role_policy.app["producer"].policy).Statement : s.Sid => s } == {
      SendToQueue = {
        Sid      = "SendToQueue", Effect = "Allow",
        Action   = ["sqs:SendMessage", "sqs:GetQueueUrl"],
        Resource = "arn:aws:sqs:eu-west-1:123456789012:own-queue"
      }
      ReadRegistry = {
        Sid = "ReadRegistry", Effect = "Allow", Action = ["ssm:GetParameters"],
        Resource = [
          "arn:aws:ssm:eu-west-1:123456789012:parameter/tenant-1/consumer_sqs",
          "arn:aws:ssm:eu-west-1:123456789012:parameter/tenant-1/tier",
          "arn:aws:ssm:eu-west-1:123456789012:parameter/tenant-1/status",
          "arn:aws:ssm:eu-west-1:123456789012:parameter/tenant-1/generation",
          "arn:aws:ssm:eu-west-1:123456789012:parameter/tenant-1/moved_from",
        ]
      }
      ReadIndexOfTenants = {
        Sid      = "ReadIndexOfTenants", Effect = "Allow", Action = ["ssm:GetParametersByPath"],
        Resource = ["arn:aws:ssm:eu-west-1:123456789012:parameter/tenant-1"]
      }
    }
    error_message = "The producer's rights differ from its calls."
  }
}

run "a_silos_consumer_reads_and_writes_only_its_tenants_partition" {
  assert {
    condition = { for s in jsondecode(aws_iam_role_policy.app["consumer"].policy).Statement : s.Sid => join(" ", sort(s.Action)) } == {
      DrainQueue                  = "sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:GetQueueUrl sqs:ReceiveMessage"
      DeadLetterPoison            = "sqs:GetQueueUrl sqs:SendMessage"
      StoreEvents                 = "dynamodb:BatchWriteItem dynamodb:PutItem"
      ListEvents                  = "dynamodb:Query"
      ReadRegistryAndOwnResources = "ssm:GetParameters"
      ReadIndexOfTenants          = "ssm:GetParametersByPath"
    }
    error_message = "The consumer's rights differ from its calls."
  }
  assert {
    condition = alltrue([for s in jsondecode(aws_iam_role_policy.app["consumer"].policy).Statement :
      s.Condition == {
        "Null"                      = { "dynamodb:LeadingKeys" = "false" }
        "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["tenant-1"] }
      } if contains(["StoreEvents", "ListEvents"], s.Sid)
    ])
    error_message = "The consumer could reach another partition."
  }
}

run "payments_reach_their_tenants_partition_and_the_outbox" {
  assert {
    condition = { for s in jsondecode(aws_iam_role_policy.app["payments"].policy).Statement : s.Sid => join(" ", sort(s.Action)) } == {
      KeepPayments          = "dynamodb:BatchWriteItem dynamodb:ConditionCheckItem dynamodb:GetItem dynamodb:PutItem dynamodb:Query dynamodb:UpdateItem"
      ReadOutbox            = "dynamodb:Query"
      SendToQueue           = "sqs:GetQueueUrl sqs:SendMessage"
      ReadRegistryAndTables = "ssm:GetParameters"
      ReadIndexOfTenants    = "ssm:GetParametersByPath"
    }
    error_message = "The rights of payments differ from its calls."
  }
}

run "a_pools_producer_sends_by_tag_to_any_number_of_tenants" {
  variables {
    tenant_id = "pool-1"
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.app["producer"].policy).Statement : {
      resource = s.Resource, condition = s.Condition
      } if s.Sid == "SendToTenantsOfThisPool"] == [{
      resource  = "arn:aws:sqs:eu-west-1:123456789012:consumer-*"
      condition = { StringEquals = { "aws:ResourceTag/tenantry/producer" = "pool-1" } }
    }]
    error_message = "The pool could send to a silo, or could not send to its hybrid tenants."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.app["consumer"].policy).Statement : s.Condition if s.Sid == "ForwardToTenantsThatHaveMoved"] == [
      { StringEquals = { "aws:ResourceTag/tenantry/pool" = "pool-1" } }
    ]
    error_message = "The pool's consumer could not forward the late messages of a tenant that has moved to its silo."
  }
  assert {
    condition = alltrue([for s in jsondecode(aws_iam_role_policy.app["consumer"].policy).Statement :
      s.Condition == { "Null" = { "dynamodb:LeadingKeys" = "false" } } if contains(["StoreEvents", "ListEvents"], s.Sid)
    ])
    error_message = "A pool could read without naming a partition."
  }
  assert {
    condition = alltrue([for policy in aws_iam_role_policy.app : [
      for s in jsondecode(policy.policy).Statement : s.Resource if s.Sid == "ReadIndexOfTenants"
      ][0] == [for path in ["tenants", "tenants/*", "refused", "refused/*"] :
      "arn:aws:ssm:eu-west-1:123456789012:parameter/tenantry/${path}"
    ]])
    error_message = "A pool's service could not read the index of tenants, or more than that."
  }
}

run "a_pooled_reader_reads_the_partition_of_its_session_tag" {
  variables {
    tenant_id                    = "pool-1"
    pooled_reader_principal_arns = ["arn:aws:iam::123456789012:role/reports"]
  }

  assert {
    condition = one(jsondecode(aws_iam_role_policy.reader[0].policy).Statement).Condition == {
      "Null"                      = { "dynamodb:LeadingKeys" = "false" }
      "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["$${aws:PrincipalTag/tenant}"] }
    }
    error_message = "The reader is not restricted to its session's tenant."
  }
  assert {
    condition     = one(jsondecode(aws_iam_role.reader[0].assume_role_policy).Statement).Condition == { StringLike = { "aws:RequestTag/tenant" = "?*" } }
    error_message = "The reader's role could be assumed without a tenant."
  }
}

run "a_pools_consumer_reads_only_as_one_tenant" {
  variables {
    tenant_id           = "pool-1"
    tenant_scoped_reads = true
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.app["consumer"].policy).Statement : s.Sid
      if length(setintersection(s.Action, ["dynamodb:Query", "dynamodb:GetItem", "dynamodb:Scan", "dynamodb:BatchGetItem"])) > 0
    ] == []
    error_message = "The consumer still reads with the pool's own rights."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.app["consumer"].policy).Statement : [s.Action, s.Resource]
    if s.Sid == "ListEventsAsTheirTenant"] == [[["sts:AssumeRole", "sts:TagSession"], output.reader_role_arn]]
    error_message = "The consumer cannot assume the reader's role, or can assume other roles."
  }
  assert {
    condition     = one(jsondecode(aws_iam_role.reader[0].assume_role_policy).Statement).Principal == { AWS = [aws_iam_role.app["consumer"].arn] }
    error_message = "The reader trusts another role."
  }
}

run "a_silos_consumer_needs_no_reader" {
  variables {
    tenant_scoped_reads = true
  }

  assert {
    condition     = length(aws_iam_role.reader) == 0 && contains([for s in jsondecode(aws_iam_role_policy.app["consumer"].policy).Statement : s.Sid], "ListEvents")
    error_message = "A silo has a reader, or its consumer cannot list."
  }
}

run "pod_identity_trusts_one_service_account_of_one_cluster" {
  assert {
    condition = one(jsondecode(aws_iam_role.app["consumer"].assume_role_policy).Statement).Condition == {
      StringEquals = {
        "aws:SourceAccount"                         = "123456789012"
        "aws:RequestTag/kubernetes-namespace"       = "tenant-1"
        "aws:RequestTag/kubernetes-service-account" = "tenant-1-consumer"
      }
      ArnEquals = { "aws:RequestTag/eks-cluster-arn" = "arn:aws:eks:eu-west-1:123456789012:cluster/tenantry" }
    }
    error_message = "Other pods could assume the role."
  }
}

run "irsa_trusts_one_service_account_of_one_issuer" {
  variables {
    identity             = "irsa"
    oidc_provider_arn    = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/ABC"
    permissions_boundary = "tenantry-tenants"
    role_path            = "/tenantry/"
    namespaces           = { producer = "elsewhere" }
  }

  assert {
    condition = one(jsondecode(aws_iam_role.app["producer"].assume_role_policy).Statement) == {
      Sid       = "ServiceAccount", Effect = "Allow", Action = "sts:AssumeRoleWithWebIdentity",
      Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/ABC" }
      Condition = { StringEquals = {
        "oidc.eks.eu-west-1.amazonaws.com/id/ABC:aud" = "sts.amazonaws.com"
        "oidc.eks.eu-west-1.amazonaws.com/id/ABC:sub" = "system:serviceaccount:elsewhere:tenant-1-producer"
      } }
    }
    error_message = "Other pods could assume the role."
  }
  assert {
    condition     = length(aws_eks_pod_identity_association.app) == 0 && aws_iam_role.app["producer"].permissions_boundary == "arn:aws:iam::123456789012:policy/tenantry-tenants" && aws_iam_role.app["producer"].path == "/tenantry/"
    error_message = "Associations exist without Pod Identity, or the boundary or the path is missing."
  }
}

run "without_identity_there_are_no_roles" {
  variables {
    identity     = "none"
    cluster_name = ""
  }

  assert {
    condition     = length(aws_iam_role.app) == 0 && length(merge(aws_ssm_parameter.first, aws_ssm_parameter.tenant)) == 5
    error_message = "Roles exist without an identity."
  }
}
