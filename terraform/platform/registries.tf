# One repository for each image and chart. Tags never move; what is pushed is scanned.

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
  # Layers of the build cache are the only thing that is written over.
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
        description  = "What the published images were joined from"
        selection = {
          tagStatus = "tagged", tagPatternList = ["build-*"], countType = "sinceImagePushed", countUnit = "days", countNumber = 7
        }
        action = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "Published images, the newest of them; versions (0.0.1) stay"
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
      description  = "Layers no build has written for a while"
      selection    = { tagStatus = "any", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}
