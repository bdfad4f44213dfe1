variable "cluster_name" {
  description = "EKS cluster whose pods assume the roles made here."
  type        = string
  default     = "tenantry"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name is ${jsonencode(var.cluster_name)}: use an EKS cluster's name, 1 to 100 letters, digits, - and _."
  }
}

variable "repository_prefix" {
  description = "Prefix of every repository's name, for example `tenantry/`: REPOSITORY_PREFIX of the workflows."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9]+([._-][a-z0-9]+)*/)*$", var.repository_prefix))
    error_message = "repository_prefix is ${jsonencode(var.repository_prefix)}: leave it empty, or use lower case and a slash at the end, for example tenantry/"
  }
}

variable "images" {
  description = "Names of the images' repositories: the lines of docker/images."
  type        = set(string)
  default     = ["producer", "consumer", "payments", "local", "tenantctl", "onboarding"]
  nullable    = false
}

variable "charts" {
  description = "Names of the charts' repositories: the folders of helm-charts."
  type        = set(string)
  default     = ["helm-tenant-chart", "application-chart"]
  nullable    = false
}

variable "build_cache" {
  description = "Repository of the build cache, under the prefix: BUILD_CACHE of the workflows. Empty: no cache."
  type        = string
  default     = ""
  nullable    = false
}

variable "images_kept" {
  description = "Number of published images kept per service. A tenant on hold runs an old image: keep more images than are published during the longest hold."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.images_kept >= 10
    error_message = "images_kept is ${var.images_kept}: use at least 10, because nodes still pull the images that run."
  }
}

variable "github_repository" {
  description = "GitHub repository, OWNER/REPOSITORY, whose main branch may push images and charts. Empty: no push role."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.github_repository == "" || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository is ${jsonencode(var.github_repository)}: use OWNER/REPOSITORY, without a wildcard."
  }
}

variable "github_oidc_provider_arn" {
  description = "ARN of the account's IAM OIDC provider for GitHub. An account can have only one. Empty: made here."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.github_oidc_provider_arn == "" || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/token.actions.githubusercontent.com$", var.github_oidc_provider_arn))
    error_message = "github_oidc_provider_arn is ${jsonencode(var.github_oidc_provider_arn)}: use arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com with your account."
  }
}

variable "kms_key_arns" {
  description = "ARNs of the KMS keys for tenants' queues and tables. Empty: only the default encryption."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "reply_queue_arns" {
  description = "ARNs of the queues that lifecycle messages may name as `reply_to`: the control plane sends events there. Empty: to none."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.reply_queue_arns : can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}$", arn))])
    error_message = "reply_queue_arns is ${jsonencode(var.reply_queue_arns)}: use ARNs of standard queues without a wildcard, for example arn:aws:sqs:eu-west-1:123456789012:events"
  }
}
