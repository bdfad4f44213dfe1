# What all tenants share, once for each account: registries, the queues of the tenant lifecycle, and the roles of whoever
# works on tenants' behalf. Apply it by hand, with an administrator's rights; it is not reconciled by the cluster it serves.

data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region
  tags      = merge(var.tags, { "tenantry/managed-by" = "terraform/platform" })

  cluster_arn = "arn:${local.partition}:eks:${local.region}:${local.account}:cluster/${var.cluster_name}"
}
