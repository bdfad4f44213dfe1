# One repository per image and chart. Tags never move, and ECR scans every push.

locals {
  services   = { for image in var.images : "${var.repository_prefix}${image}" => "image" }
  charts     = { for chart in var.charts : "${var.repository_prefix}charts/${chart}" => "chart" }
  published  = merge(local.services, local.charts)
  cache      = var.build_cache == "" ? {} : { "${var.repository_prefix}${var.build_cache}" = "cache" }
  registries = merge(local.published, local.cache)
}

resource "aws_ecr_repository" "published" {
  for_each = local.registries

  name = each.key
  # Only the build cache overwrites its tags.
  image_tag_mutability = each.value == "cache" ? "MUTABLE" : "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  tags = local.tags
}

resource "aws_ecr_lifecycle_policy" "images" {
  for_each = local.services

  repository = aws_ecr_repository.published[each.key].name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Single-architecture images, from which published images are joined"
        selection = {
          tagStatus = "tagged", tagPatternList = ["build-*"], countType = "sinceImagePushed", countUnit = "days", countNumber = 7
        }
        action = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "Published images beyond the newest; versions (0.0.1) stay"
        selection    = { tagStatus = "tagged", tagPatternList = ["prd-*"], countType = "imageCountMoreThan", countNumber = var.images_kept }
        action       = { type = "expire" }
      },
    ]
  })
}

resource "aws_ecr_lifecycle_policy" "cache" {
  for_each = local.cache

  repository = aws_ecr_repository.published[each.key].name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Layers that no build has written for 14 days"
      selection    = { tagStatus = "any", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}
