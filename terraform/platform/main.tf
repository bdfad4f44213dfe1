# Shared by all tenants, once per account: registries, lifecycle queues, and the roles of the cluster's platform services. Apply it
# by hand with administrator rights: the cluster does not reconcile it.

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
