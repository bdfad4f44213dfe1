"""Checks that other endpoints fail, by the behavior of AWS. Each check is listed, so that a change fails the run."""

from __future__ import annotations

_MINISTACK: dict[str, list[str]] = {
    "SQS leaves empty lists and maps out of its answers": [
        "sqs_batch::test_a_batch_deleted_without_failure_leaves_the_failures_out",
        "sqs_batch::test_ten_messages_arrive_each_with_its_own_answer",
        "sqs_queues::test_a_queue_without_tags_leaves_them_out",
        "sqs_queues::test_listing_no_queue_leaves_the_list_out",
    ],
    "a batch entry is checked as a single message is, and fails alone (SendMessageBatch)": [
        "sqs_batch::test_an_invalid_entry_fails_alone[attribute]",
        "sqs_batch::test_an_invalid_entry_fails_alone[delay]",
    ],
    "names, types and values of the attributes count toward the size (Message attributes)": [
        "sqs_batch::test_attributes_count_toward_the_size_of_a_batch",
        "sqs_send::test_attributes_count_toward_the_size",
    ],
    "the trace header is kept, and its digest answered (SendMessage, MessageSystemAttributes)": [
        "sqs_batch::test_entries_keep_their_own_group_delay_and_trace",
        "sqs_send::test_a_trace_header_is_kept_and_answered_with_its_digest",
    ],
    "AWSTraceHeader is the only system attribute one can send (SendMessage)": [
        "sqs_send::test_no_other_system_attribute_can_be_sent",
    ],
    "a message has ten attributes at most, each with a valid name, type and value (Message attributes)": [
        "sqs_send::test_an_invalid_attribute_is_refused[eleven]",
        "sqs_send::test_an_invalid_attribute_is_refused[empty value]",
        "sqs_send::test_an_invalid_attribute_is_refused[invalid character in name]",
        "sqs_send::test_an_invalid_attribute_is_refused[invalid character in value]",
        "sqs_send::test_an_invalid_attribute_is_refused[leading period in name]",
        "sqs_send::test_an_invalid_attribute_is_refused[name of 257 characters]",
        "sqs_send::test_an_invalid_attribute_is_refused[not a number]",
        "sqs_send::test_an_invalid_attribute_is_refused[reserved name]",
        "sqs_send::test_an_invalid_attribute_is_refused[unknown type]",
    ],
    "a group id has 1 to 128 alphanumeric or punctuation characters (SendMessage)": [
        "sqs_send::test_an_invalid_group_id_is_refused[empty]",
        "sqs_send::test_an_invalid_group_id_is_refused[not ascii]",
        "sqs_send::test_an_invalid_group_id_is_refused[space]",
        "sqs_send::test_an_invalid_group_id_is_refused[too long]",
    ],
    "DelaySeconds is 0 to 900 (SendMessage)": [
        "sqs_send::test_a_delay_out_of_range_is_refused[-1]",
        "sqs_send::test_a_delay_out_of_range_is_refused[901]",
    ],
    "RedrivePolicy is JSON with an existing target and a maxReceiveCount of 1 to 1000 (SetQueueAttributes)": [
        "sqs_dead_letters::test_a_policy_that_names_a_missing_queue_is_refused",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[count not a number]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[count over 1000]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[count zero]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[no count]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[no target]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[not an object]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[not json]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[target not an arn]",
    ],
    "maxReceiveCount may be sent as a string, and is answered as a number": [
        "sqs_dead_letters::test_the_policy_takes_the_count_as_number_or_string_and_answers_a_number[string]",
    ],
    "ListDeadLetterSourceQueues, StartMessageMoveTask and ListMessageMoveTasks are actions of SQS": [
        "sqs_dead_letters::test_dead_letters_are_moved_back_to_their_source",
        "sqs_dead_letters::test_only_a_dead_letter_queue_can_be_moved_back",
        "sqs_dead_letters::test_an_ordinary_queue_has_no_sources",
        "sqs_dead_letters::test_the_dead_letter_queue_lists_its_sources",
        "sqs_dead_letters::test_the_sources_are_listed_in_pages",
        "sqs_queues::test_a_call_to_a_missing_queue_is_refused[list sources]",
    ],
    "fair queues: messages of quiet groups come before the backlog of a noisy one": [
        "sqs_fairness::test_a_quiet_group_does_not_wait_behind_a_noisy_one",
    ],
    "queues are encrypted by SQS by default (SqsManagedSseEnabled)": [
        "sqs_queues::test_a_new_queue_has_the_documented_defaults",
    ],
    "one PurgeQueue in 60 seconds (PurgeQueueInProgress)": [
        "sqs_queues::test_a_second_purge_within_a_minute_is_refused",
    ],
    "an unknown or read-only attribute is InvalidAttributeName": [
        "sqs_queues::test_an_attribute_that_cannot_be_set_is_refused[Color]",
        "sqs_queues::test_an_attribute_that_cannot_be_set_is_refused[FifoQueue]",
        "sqs_queues::test_an_attribute_that_cannot_be_set_is_refused[QueueArn]",
        "sqs_queues::test_an_unknown_attribute_cannot_be_requested",
        "sqs_receive::test_an_unknown_system_attribute_cannot_be_requested",
    ],
    "a queue name has up to 80 alphanumeric characters, hyphens and underscores (CreateQueue)": [
        "sqs_queues::test_an_invalid_queue_name_is_refused[81 characters]",
        "sqs_queues::test_an_invalid_queue_name_is_refused[dot]",
        "sqs_queues::test_an_invalid_queue_name_is_refused[not ascii]",
        "sqs_queues::test_an_invalid_queue_name_is_refused[slash]",
        "sqs_queues::test_an_invalid_queue_name_is_refused[space]",
    ],
    "visibility is 0 to 43,200 seconds, a wait 0 to 20 (ReceiveMessage, ChangeMessageVisibility)": [
        "sqs_receive::test_a_parameter_out_of_range_is_refused[VisibilityTimeout=-1]",
        "sqs_receive::test_a_parameter_out_of_range_is_refused[VisibilityTimeout=43201]",
        "sqs_receive::test_a_parameter_out_of_range_is_refused[WaitTimeSeconds=-1]",
        "sqs_receive::test_a_parameter_out_of_range_is_refused[WaitTimeSeconds=21]",
        "sqs_visibility::test_a_visibility_timeout_out_of_range_is_refused[-1]",
        "sqs_visibility::test_a_visibility_timeout_out_of_range_is_refused[43201]",
    ],
    "deleting with a handle that is no longer the latest, or twice, succeeds and deletes nothing (DeleteMessage)": [
        "sqs_visibility::test_a_stale_handle_deletes_nothing_and_is_no_error",
        "sqs_visibility::test_deleting_twice_is_no_error",
    ],
    "the visibility of a deleted message: InvalidParameterValue, as the handle itself is well-formed": [
        "sqs_visibility::test_the_visibility_of_a_deleted_message_cannot_be_changed",
    ],
    "a parameter name is fully qualified, of letters, digits and .-_/ in up to 15 levels (PutParameter)": [
        "ssm::test_a_name_of_more_than_15_levels_is_refused",
        "ssm::test_an_invalid_name_is_refused[/a$b]",
        "ssm::test_an_invalid_name_is_refused[not/leading]",
        "ssm::test_an_invalid_name_is_refused[with space]",
    ],
    "names that begin with aws are reserved: AccessDeniedException (PutParameter)": [
        "ssm::test_a_name_reserved_for_aws_is_refused[aws-name]",
    ],
    "a standard parameter has 4 KB at most (PutParameter)": [
        "ssm::test_a_value_over_4_kib_is_refused",
    ],
    "ten names per call, ten parameters per page, a path begins with a slash (GetParameters, GetParametersByPath)": [
        "ssm::test_a_page_of_more_than_ten_is_refused",
        "ssm::test_a_path_must_begin_with_a_slash",
        "ssm::test_more_than_ten_at_once_are_refused",
    ],
    "tagging what does not exist is InvalidResourceId (AddTagsToResource)": [
        "ssm::test_an_unknown_parameter_cannot_be_tagged",
    ],
    "AssumeRole checks the session's name and tags": [
        "sts::test_a_malformed_session_name_is_refused",
        "sts::test_a_session_tag_given_twice_is_refused",
        "sts::test_a_transitive_tag_must_be_among_the_tags",
    ],
}

_FAUXQS: dict[str, list[str]] = {}

_ELASTICMQ: dict[str, list[str]] = {}

DIFFERENCES = {
    endpoint: {check: reason for reason, checks in by_reason.items() for check in checks}
    for endpoint, by_reason in {"ministack": _MINISTACK, "fauxqs": _FAUXQS, "elasticmq": _ELASTICMQ}.items()
}
