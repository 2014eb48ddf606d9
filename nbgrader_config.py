"""nbgrader's settings: solutions/ is what instructors keep, exercises/ is what students open."""

c = get_config()  # noqa: F821  (nbgrader puts it there)

c.CourseDirectory.course_id = "mircourse"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

# numba compiles librosa's constant-Q transform for up to half a minute on its first call, and nbgrader gives a
# cell 30 s by default: a slow machine must not cost marks.
c.Execute.timeout = 300
