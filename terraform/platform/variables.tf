variable "cluster_name" {
  description = "The EKS cluster whose pods take the roles made here."
  type        = string
  default     = "tenantry"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name is the name of an EKS cluster: letters, digits, - and _, at most 100 characters."
  }
}

variable "repository_prefix" {
  description = "What every repository's name begins with, for example `tenantry/`: REPOSITORY_PREFIX of the workflows."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9]+([._-][a-z0-9]+)*/)*$", var.repository_prefix))
    error_message = "repository_prefix is empty or ends in a slash, in lower case: tenantry/"
  }
}

variable "images" {
  description = "Repositories of images: the lines of docker/images."
  type        = set(string)
  default     = ["producer", "consumer", "payments", "local", "tenantctl"]
  nullable    = false
}

variable "charts" {
  description = "Repositories of charts: the folders of helm-charts."
  type        = set(string)
  default     = ["helm-tenant-chart", "application-chart"]
  nullable    = false
}

variable "build_cache" {
  description = "BUILD_CACHE of the workflows: a repository under the prefix in which build layers are kept. Empty: none."
  type        = string
  default     = ""
  nullable    = false
}

variable "images_kept" {
  description = "Published images kept of each service. A tenant on hold may run an old one: keep more than its hold is long."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.images_kept >= 10
    error_message = "images_kept is at least 10: nodes pull what runs again and again."
  }
}

variable "github_repository" {
  description = "OWNER/REPOSITORY whose main branch may push images and charts. Empty: no such role."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.github_repository == "" || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository is OWNER/REPOSITORY, without a wildcard."
  }
}

variable "github_oidc_provider_arn" {
  description = "ARN of the account's IAM OIDC provider for GitHub: an account has at most one. Empty: it is made here."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.github_oidc_provider_arn == "" || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/token.actions.githubusercontent.com$", var.github_oidc_provider_arn))
    error_message = "github_oidc_provider_arn is arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }
}

variable "kms_key_arns" {
  description = "KMS keys that tenants' queues and tables may be encrypted by. Empty: none of yours."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
  nullable    = false
}
