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
        "sqs_dead_letters::test_a_message_sent_to_the_dead_letter_queue_fails_the_task_and_the_others_move",
        "sqs_dead_letters::test_a_message_whose_source_is_gone_fails_the_task",
        "sqs_dead_letters::test_a_queue_is_not_its_own_destination",
        "sqs_dead_letters::test_a_task_with_a_destination_moves_what_was_sent_to_the_dead_letter_queue",
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
        "ssm::test_a_malformed_name_is_refused_when_read",
        "ssm::test_a_name_is_as_long_as_the_arn_allows",
        "ssm::test_spaces_around_a_name_are_removed",
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
    "DynamoDB compares numbers, however they are spelled, and answers them in one form": [
        "dynamodb_numbers::test_a_condition_compares_numbers[contains(numbers, :v)]",
        "dynamodb_numbers::test_a_key_is_found_by_its_value",
        "dynamodb_numbers::test_a_key_spelled_twice_is_named_twice",
        "dynamodb_numbers::test_a_member_is_deleted_by_its_value",
        "dynamodb_numbers::test_a_set_with_one_number_twice_is_refused",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[+2-attribute updates]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[+2-expression]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[+2-statement]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[+2-transaction]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[0.2e1-attribute updates]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[0.2e1-expression]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[0.2e1-statement]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[0.2e1-transaction]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[02-attribute updates]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[02-expression]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[02-statement]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[02-transaction]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2-statement]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2-transaction]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2.0-attribute updates]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2.0-expression]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2.0-statement]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2.0-transaction]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2.00-attribute updates]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2.00-expression]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2.00-statement]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2.00-transaction]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[20E-1-attribute updates]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[20E-1-expression]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[20E-1-statement]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[20E-1-transaction]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2e0-attribute updates]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2e0-expression]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2e0-statement]",
        "dynamodb_numbers::test_adding_a_member_that_is_there_changes_nothing[2e0-transaction]",
    ],
    "an index is read and filtered by the attributes that it has (Query, Projection)": [
        "dynamodb_reads::test_all_attributes_are_in_a_full_global_index_alone",
        "dynamodb_reads::test_an_index_is_filtered_by_what_it_has",
        "dynamodb_reads::test_what_a_global_index_does_not_have_is_refused",
        "dynamodb_reads::test_what_an_index_has_can_be_read_from_it[local-b, m.b]",
    ],
    "a key value is not empty (Query, GetItem, Scan)": [
        "dynamodb_reads::test_an_empty_key_value_is_refused_in_a_query[condition]",
        "dynamodb_reads::test_an_empty_key_value_is_refused_in_a_query[condition on the sort key]",
        "dynamodb_reads::test_an_empty_key_value_is_refused_in_a_query[start key]",
        "dynamodb_reads::test_an_empty_key_value_is_refused_wherever_a_key_is",
    ],
    "RecoveryPeriodInDays is 1 to 35, and kept (UpdateContinuousBackups)": [
        "dynamodb_tables::test_days_of_recovery_out_of_range_are_refused",
        "dynamodb_tables::test_the_days_of_recovery_are_kept_as_asked",
    ],
    "the encryption of a table is changed by UpdateTable, alone or beside others": [
        "dynamodb_tables::test_the_encryption_of_a_table_can_be_changed_alone_and_beside_others",
    ],
    "a selector is a version or a label, for reads alone (GetParameter, PutParameter, DeleteParameters)": [
        "ssm::test_a_deletion_takes_a_name_and_no_selector[an arn]",
        "ssm::test_a_history_and_tags_are_of_a_parameter_and_no_version",
        "ssm::test_a_write_takes_a_name_and_no_selector",
        "ssm::test_labels_are_put_on_a_name_and_no_selector",
    ],
    "KeyId is of a SecureString, DataType one of three, a value nests no parameter (PutParameter)": [
        "ssm::test_a_key_stays_with_its_secret",
        "ssm::test_a_member_that_does_not_fit_is_refused",
        "ssm::test_an_image_is_kept_if_its_id_is_one",
    ],
    "labels are put on versions, and select them (LabelParameterVersion)": [
        "ssm::test_a_label_moves_and_is_taken_off",
        "ssm::test_a_version_is_read_by_number_label_and_arn",
    ],
    "a path is filtered by Type, KeyId and Label alone (GetParametersByPath)": [
        "ssm::test_a_path_is_not_filtered_by_these",
    ],
    "the value matches AllowedPattern, a regular expression, also later (PutParameter)": [
        "ssm::test_a_pattern_that_is_no_regular_expression_is_refused",
        "ssm::test_a_value_matches_the_allowed_pattern_also_later",
    ],
}

_FAUXQS: dict[str, list[str]] = {
    "SQS leaves empty lists and maps out of its answers": [
        "sqs_batch::test_a_batch_deleted_without_failure_leaves_the_failures_out",
        "sqs_batch::test_ten_messages_arrive_each_with_its_own_answer",
        "sqs_queues::test_a_queue_without_tags_leaves_them_out",
        "sqs_queues::test_listing_no_queue_leaves_the_list_out",
    ],
    "a batch entry is checked as a single message is, and fails alone (SendMessageBatch)": [
        "sqs_batch::test_an_invalid_entry_fails_alone[attribute]",
        "sqs_batch::test_an_invalid_entry_fails_alone[delay]",
        "sqs_batch::test_deleting_a_batch_reports_the_outcome_of_each_entry",
    ],
    "a batch has 1 to 10 entries with distinct ids of up to 80 letters, digits, - and _ (SendMessageBatch)": [
        "sqs_batch::test_an_invalid_id_is_refused[too long-change_batch]",
        "sqs_batch::test_an_invalid_id_is_refused[too long-delete_batch]",
        "sqs_batch::test_an_invalid_id_is_refused[too long-send_batch]",
    ],
    "the trace header is kept, and its digest answered (SendMessage, MessageSystemAttributes)": [
        "sqs_batch::test_entries_keep_their_own_group_delay_and_trace",
        "sqs_send::test_a_trace_header_is_kept_and_answered_with_its_digest",
    ],
    "a move task ends as COMPLETED or as FAILED with a reason (StartMessageMoveTask, ListMessageMoveTasks)": [
        "sqs_dead_letters::test_a_message_sent_to_the_dead_letter_queue_fails_the_task_and_the_others_move",
        "sqs_dead_letters::test_a_message_whose_source_is_gone_fails_the_task",
        "sqs_dead_letters::test_a_queue_is_not_its_own_destination",
        "sqs_dead_letters::test_a_task_with_a_destination_moves_what_was_sent_to_the_dead_letter_queue",
        "sqs_dead_letters::test_dead_letters_are_moved_back_to_their_source",
        "sqs_dead_letters::test_only_a_dead_letter_queue_can_be_moved_back",
    ],
    "a message keeps its content and names its source in the dead-letter queue": [
        "sqs_dead_letters::test_a_moved_message_keeps_its_content",
        "sqs_dead_letters::test_a_moved_message_names_its_source",
    ],
    "RedrivePolicy is JSON with an existing target and a maxReceiveCount of 1 to 1000 (SetQueueAttributes)": [
        "sqs_dead_letters::test_a_policy_that_names_a_missing_queue_is_refused",
        "sqs_dead_letters::test_an_invalid_policy_is_refused",
    ],
    "ListDeadLetterSourceQueues is an action of SQS, in pages": [
        "sqs_dead_letters::test_an_ordinary_queue_has_no_sources",
        "sqs_dead_letters::test_the_dead_letter_queue_lists_its_sources",
        "sqs_dead_letters::test_the_sources_are_listed_in_pages",
    ],
    "maxReceiveCount may be sent as a string, and is answered as a number": [
        "sqs_dead_letters::test_the_policy_takes_the_count_as_number_or_string_and_answers_a_number[string]",
    ],
    "fair queues: messages of quiet groups come before the backlog of a noisy one": [
        "sqs_fairness::test_a_quiet_group_does_not_wait_behind_a_noisy_one",
    ],
    "a missing queue is AWS.SimpleQueueService.NonExistentQueue, as clients of both protocols know it": [
        "sqs_queues::test_a_call_to_a_missing_queue_is_refused[list sources]",
    ],
    "a queue keeps its Policy": [
        "sqs_queues::test_a_policy_is_kept_and_an_empty_one_removes_it",
    ],
    "a number out of its documented range is refused, as InvalidParameterValue or InvalidAttributeValue": [
        "sqs_queues::test_a_queue_with_a_value_out_of_range_is_not_created",
        "sqs_queues::test_an_attribute_value_out_of_range_is_refused",
        "sqs_receive::test_a_parameter_out_of_range_is_refused",
        "sqs_send::test_a_delay_out_of_range_is_refused",
        "sqs_visibility::test_a_visibility_timeout_out_of_range_is_refused",
    ],
    "one PurgeQueue in 60 seconds (PurgeQueueInProgress)": [
        "sqs_queues::test_a_second_purge_within_a_minute_is_refused",
    ],
    "an unknown or read-only attribute is InvalidAttributeName": [
        "sqs_queues::test_an_attribute_that_cannot_be_set_is_refused",
        "sqs_queues::test_an_unknown_attribute_cannot_be_requested",
        "sqs_receive::test_an_unknown_system_attribute_cannot_be_requested",
    ],
    "a queue name has up to 80 alphanumeric characters, hyphens and underscores (CreateQueue)": [
        "sqs_queues::test_an_invalid_queue_name_is_refused",
    ],
    "CreateQueue with another value of an attribute is QueueNameExists": [
        "sqs_queues::test_creating_a_queue_again_with_another_attribute_value_is_refused",
    ],
    "a queue URL has the endpoint, the account and the name": [
        "sqs_queues::test_queue_url_is_the_endpoint_then_account_then_name",
    ],
    "a receive returns the attributes that were asked for, by name or prefix": [
        "sqs_receive::test_only_requested_fields_are_returned",
    ],
    "a message and a batch have 1 MiB at most, in bytes, and the error of SendMessage": [
        "sqs_send::test_a_body_over_one_mebibyte_is_refused",
        "sqs_send::test_the_size_is_counted_in_bytes",
        "sqs_send::test_the_size_limit_of_the_queue_applies",
    ],
    "a body has 1 or more characters, those of XML; else MissingParameter or InvalidMessageContents (SendMessage)": [
        "sqs_send::test_a_character_outside_of_xml_is_refused",
        "sqs_send::test_an_empty_body_is_refused",
    ],
    "a group id on a standard queue is kept (SendMessage)": [
        "sqs_send::test_a_group_id_may_have_128_characters_and_punctuation",
        "sqs_send::test_a_group_id_on_a_standard_queue_is_kept",
        "sqs_send::test_a_message_arrives_as_it_was_sent",
    ],
    "a message has ten attributes at most, each with a valid name, type and value (Message attributes)": [
        "sqs_send::test_an_invalid_attribute_is_refused",
    ],
    "a group id has 1 to 128 alphanumeric or punctuation characters (SendMessage)": [
        "sqs_send::test_an_invalid_group_id_is_refused",
    ],
    "names, types and values of the attributes count toward the size (Message attributes)": [
        "sqs_send::test_attributes_count_toward_the_size",
    ],
    "AWSTraceHeader is the only system attribute one can send (SendMessage)": [
        "sqs_send::test_no_other_system_attribute_can_be_sent",
    ],
    "a malformed handle, or one of another queue, is ReceiptHandleIsInvalid": [
        "sqs_visibility::test_a_handle_of_another_queue_cannot_delete",
        "sqs_visibility::test_a_malformed_handle_cannot_change_visibility",
        "sqs_visibility::test_a_malformed_handle_cannot_delete",
    ],
    "the visibility of a deleted message: InvalidParameterValue, as the handle itself is well-formed": [
        "sqs_visibility::test_the_visibility_of_a_deleted_message_cannot_be_changed",
    ],
}

_ELASTICMQ: dict[str, list[str]] = {
    "a message and a batch have 1 MiB at most, in bytes, and the error of SendMessage": [
        "sqs_batch::test_a_batch_over_one_mebibyte_is_refused",
        "sqs_send::test_a_body_over_one_mebibyte_is_refused",
        "sqs_send::test_the_size_is_counted_in_bytes",
        "sqs_send::test_the_size_limit_of_the_queue_applies",
    ],
    "a batch has 1 to 10 entries with distinct ids of up to 80 letters, digits, - and _ (SendMessageBatch)": [
        "sqs_batch::test_a_refused_batch_leaves_nothing_behind",
        "sqs_batch::test_an_id_used_twice_is_refused",
        "sqs_batch::test_an_invalid_id_is_refused",
        "sqs_batch::test_more_than_ten_entries_are_refused",
        "sqs_batch::test_no_entry_is_refused",
    ],
    "a batch entry is checked as a single message is, and fails alone (SendMessageBatch)": [
        "sqs_batch::test_an_invalid_entry_fails_alone[attribute]",
        "sqs_batch::test_an_invalid_entry_fails_alone[character]",
        "sqs_batch::test_an_invalid_entry_fails_alone[too large for the queue]",
    ],
    "names, types and values of the attributes count toward the size (Message attributes)": [
        "sqs_batch::test_attributes_count_toward_the_size_of_a_batch",
        "sqs_send::test_attributes_count_toward_the_size",
    ],
    "a move task ends as COMPLETED or as FAILED with a reason (StartMessageMoveTask, ListMessageMoveTasks)": [
        "sqs_dead_letters::test_a_message_sent_to_the_dead_letter_queue_fails_the_task_and_the_others_move",
        "sqs_dead_letters::test_a_message_whose_source_is_gone_fails_the_task",
        "sqs_dead_letters::test_a_queue_is_not_its_own_destination",
        "sqs_dead_letters::test_a_task_with_a_destination_moves_what_was_sent_to_the_dead_letter_queue",
        "sqs_dead_letters::test_dead_letters_are_moved_back_to_their_source",
        "sqs_dead_letters::test_only_a_dead_letter_queue_can_be_moved_back",
    ],
    "RedrivePolicy is JSON with an existing target and a maxReceiveCount of 1 to 1000 (SetQueueAttributes)": [
        "sqs_dead_letters::test_a_policy_that_names_a_missing_queue_is_refused",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[count not a number]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[no count]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[no target]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[not an object]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[not json]",
        "sqs_dead_letters::test_an_invalid_policy_is_refused[target not an arn]",
        "sqs_queues::test_an_empty_redrive_policy_removes_it",
    ],
    "ListDeadLetterSourceQueues is an action of SQS, in pages": [
        "sqs_dead_letters::test_the_sources_are_listed_in_pages",
    ],
    "fair queues: messages of quiet groups come before the backlog of a noisy one": [
        "sqs_fairness::test_a_quiet_group_does_not_wait_behind_a_noisy_one",
    ],
    "a missing queue is AWS.SimpleQueueService.NonExistentQueue, as clients of both protocols know it": [
        "sqs_queues::test_a_call_to_a_missing_queue_is_refused",
        "sqs_queues::test_a_deleted_queue_is_gone",
        "sqs_queues::test_an_unknown_queue_is_not_found_by_name",
    ],
    "a queue has every documented attribute, with its default": [
        "sqs_queues::test_a_new_queue_has_the_documented_defaults",
        "sqs_queues::test_set_attributes_are_read_back_and_the_others_kept",
    ],
    "a queue keeps its Policy": [
        "sqs_queues::test_a_policy_is_kept_and_an_empty_one_removes_it",
    ],
    "a number out of its documented range is refused, as InvalidParameterValue or InvalidAttributeValue": [
        "sqs_queues::test_a_queue_with_a_value_out_of_range_is_not_created",
        "sqs_queues::test_an_attribute_value_out_of_range_is_refused",
        "sqs_receive::test_a_parameter_out_of_range_is_refused",
        "sqs_visibility::test_a_visibility_timeout_out_of_range_is_refused",
    ],
    "SQS leaves empty lists and maps out of its answers": [
        "sqs_queues::test_a_queue_without_tags_leaves_them_out",
        "sqs_queues::test_listing_no_queue_leaves_the_list_out",
        "sqs_receive::test_an_empty_queue_answers_at_once_and_without_a_list",
    ],
    "one PurgeQueue in 60 seconds (PurgeQueueInProgress)": [
        "sqs_queues::test_a_second_purge_within_a_minute_is_refused",
    ],
    "an unknown or read-only attribute is InvalidAttributeName": [
        "sqs_queues::test_an_attribute_that_cannot_be_set_is_refused[FifoQueue]",
        "sqs_queues::test_an_unknown_attribute_cannot_be_requested",
        "sqs_receive::test_an_unknown_system_attribute_cannot_be_requested",
    ],
    "a queue name has up to 80 alphanumeric characters, hyphens and underscores (CreateQueue)": [
        "sqs_queues::test_an_invalid_queue_name_is_refused",
    ],
    "CreateQueue with another value of an attribute is QueueNameExists": [
        "sqs_queues::test_creating_a_queue_again_with_another_attribute_value_is_refused",
    ],
    "queues are listed in pages by name (ListQueues)": [
        "sqs_queues::test_queues_are_listed_in_pages",
    ],
    "queues are encrypted by SQS by default (SqsManagedSseEnabled)": [
        "sqs_queues::test_server_side_encryption_can_be_switched_off",
    ],
    "a receive returns the attributes that were asked for, by name or prefix": [
        "sqs_receive::test_message_attributes_are_filtered_by_name_or_prefix[b.*]",
    ],
    "a body has 1 or more characters, those of XML; else MissingParameter or InvalidMessageContents (SendMessage)": [
        "sqs_send::test_a_character_outside_of_xml_is_refused",
        "sqs_send::test_an_empty_body_is_refused",
    ],
    "the trace header is kept, and its digest answered (SendMessage, MessageSystemAttributes)": [
        "sqs_send::test_a_trace_header_is_kept_and_answered_with_its_digest",
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
    ],
    "AWSTraceHeader is the only system attribute one can send (SendMessage)": [
        "sqs_send::test_no_other_system_attribute_can_be_sent",
    ],
    "deleting with a handle that is no longer the latest, or twice, succeeds and deletes nothing (DeleteMessage)": [
        "sqs_visibility::test_a_stale_handle_deletes_nothing_and_is_no_error",
        "sqs_visibility::test_deleting_twice_is_no_error",
    ],
    "the visibility of a deleted message: InvalidParameterValue, as the handle itself is well-formed": [
        "sqs_visibility::test_the_visibility_of_a_deleted_message_cannot_be_changed",
    ],
}

DIFFERENCES = {
    endpoint: {check: reason for reason, checks in by_reason.items() for check in checks}
    for endpoint, by_reason in {"ministack": _MINISTACK, "fauxqs": _FAUXQS, "elasticmq": _ELASTICMQ}.items()
}
