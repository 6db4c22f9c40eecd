"""What one example of a data set looks like."""

from genlab.spec import number_of


def test_a_class_is_meant_by_its_name_or_by_its_number_where_that_is_no_name():
    faces = ("bald", "young")
    assert [number_of(word, faces) for word in ("young", 0, "1", 2, "-1", "old")] == [1, 0, 1, None, None, None]
    digits = ("3", "7")  # that were chosen of ten
    assert [number_of(word, digits) for word in (3, "7", 0, 1, 8)] == [0, 1, None, None, None]
