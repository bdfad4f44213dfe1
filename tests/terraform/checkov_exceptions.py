"""Accepted findings of checkov: the check, a pattern of its resources, and the reason.

The test fails on a finding that is not listed, and on an exception without a finding.
"""

EXCEPTIONS = {
    "CKV_AWS_136": (
        r"aws_ecr_repository\.published",
        "ECR encrypts every image with AES-256. Our own key would need a policy for every puller, and the images hold "
        "no secrets.",
    ),
    "CKV2_AWS_34": (
        r"aws_ssm_parameter\.(tenant|first|index|generation)",
        "The values are ARNs, a tier and a status, not secrets. SecureString would add a decryption to every read.",
    ),
}
