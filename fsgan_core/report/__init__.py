"""What a person looks at after a render: the report page, the contact sheet, the view map."""
